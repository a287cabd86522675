// The downloads of this page: how far, whether whole, why not.
import { useSyncExternalStore } from 'react'

import { Button, IconButton } from '../../ui/Button'
import { formatBytes } from '../../ui/format'
import { downloads, type Download } from './downloads'
import styles from './DownloadList.module.css'

export function DownloadList() {
  const list = useSyncExternalStore(downloads.subscribe, downloads.read)
  return (
    <ul className={styles.list} aria-label="Downloads">
      {list.map((download) => (
        <li key={download.id} className={styles.download} data-state={download.state}>
          <span className={styles.name}>{download.name}</span>
          <p role={download.state === 'failed' ? 'alert' : 'status'}>{told(download)}</p>
          {download.state === 'running' ? (
            <Button small onClick={() => downloads.cancel(download.id)}>
              Cancel
            </Button>
          ) : (
            <IconButton
              small
              icon="close"
              label={`Take ${download.name} off the list`}
              weight="plain"
              onClick={() => downloads.dismiss(download.id)}
            />
          )}
        </li>
      ))}
    </ul>
  )
}

function told({ state, bytes, why }: Download): string {
  if (state === 'running') return `${formatBytes(bytes)} so far …`
  if (state === 'done') return `Whole: ${formatBytes(bytes)}`
  return state === 'cancelled' ? 'Cancelled' : `Failed. ${why}`
}
