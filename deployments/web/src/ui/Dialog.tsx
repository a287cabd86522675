// A modal dialog: the browser's own, which traps the focus, closes on Escape and gives the focus back.
import { useEffect, useId, useRef, type ReactNode } from 'react'

import { IconButton } from './Button'
import { classes } from './classes'
import styles from './Dialog.module.css'

interface DialogProps {
  title: string
  onClose: () => void
  children: ReactNode
  /** A drawer comes from the side and is as high as the screen. */
  shape?: 'usual' | 'wide' | 'drawer'
}

/** Open as long as it is rendered. */
export function Dialog({ title, onClose, children, shape = 'usual' }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const titleId = useId()
  useEffect(() => {
    const element = dialog.current
    element?.showModal()
    return () => element?.close()
  }, [])
  return (
    <dialog
      ref={dialog}
      className={classes(styles.dialog, shape === 'wide' && styles.wide, shape === 'drawer' && styles.drawer)}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
    >
      <div className={styles.head}>
        <h2 id={titleId}>{title}</h2>
        <IconButton icon="close" label="Close" weight="plain" onClick={onClose} />
      </div>
      <div className={styles.body}>{children}</div>
    </dialog>
  )
}
