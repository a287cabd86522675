// The panel's place: beside the rows, or over them from the side where there is no room.
import { IconButton } from '../../ui/Button'
import { Dialog } from '../../ui/Dialog'
import { NARROW, useMedia } from '../../ui/media'
import { FieldsPanel, type FieldsPanelProps } from './FieldsPanel'
import styles from './FieldsSide.module.css'

export function FieldsSide({ onClose, ...panel }: FieldsPanelProps & { onClose: () => void }) {
  const isNarrow = useMedia(NARROW)
  if (isNarrow) {
    return (
      <Dialog title="Fields" shape="drawer" onClose={onClose}>
        <FieldsPanel {...panel} />
      </Dialog>
    )
  }
  return (
    <aside className={styles.side} aria-labelledby="fields-title">
      <div className={styles.head}>
        <h2 id="fields-title">Fields</h2>
        <IconButton small icon="left" label="Close the fields (f)" weight="plain" onClick={onClose} />
      </div>
      <FieldsPanel {...panel} />
    </aside>
  )
}
