// What has to be said beside the data: a warning, an error, or that there is nothing.
import type { ReactNode } from 'react'

import { classes } from './classes'
import { Icon } from './Icon'
import styles from './Notice.module.css'

interface NoticeProps {
  kind: 'note' | 'warn' | 'bad'
  children: ReactNode
}

/** Errors are told to screen readers at once, everything else when there is a pause. */
export function Notice({ kind, children }: NoticeProps) {
  return (
    <div className={classes(styles.notice, kind !== 'note' && styles[kind])} role={kind === 'bad' ? 'alert' : 'status'}>
      {kind !== 'note' && <Icon name="warning" />}
      <div className={styles.text}>{children}</div>
    </div>
  )
}

/** In the place of data that is not there: what that means, and what to do. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={styles.empty}>
      <strong>{title}</strong>
      {children}
    </div>
  )
}
