// The whole answer as a file: as it is shown, or with all fields in one of three formats.
import { exportPath, type Format } from '../../api/exports'
import { useKey } from '../../api/key'
import { Button } from '../../ui/Button'
import { formatBytes } from '../../ui/format'
import { Icon } from '../../ui/Icon'
import { Menu, MenuItem, MenuLabel, MenuLink } from '../../ui/Menu'
import { downloads } from './downloads'
import { canWriteFiles, MAX_MEMORY_BYTES } from './sink'

interface Choice {
  name: string
  format: Format
  /** As they are shown; else all fields. */
  shown?: boolean
}

const CHOICES: readonly Choice[] = [
  { name: 'CSV: the columns shown', format: 'csv', shown: true },
  { name: 'CSV: all fields', format: 'csv' },
  { name: 'NDJSON: one JSON object a line', format: 'ndjson' },
  { name: 'Parquet: for analysis', format: 'parquet' },
]

interface DownloadMenuProps {
  /** Of the search whose answer it is; null while there is none. */
  queryId: string | null
  /** Between level and message. */
  columns: readonly string[]
}

export function DownloadMenu({ queryId, columns }: DownloadMenuProps) {
  const { key } = useKey()
  const shownColumns = [...new Set(['timestamp', 'level', ...columns, 'message'])]
  return (
    <Menu
      trigger={
        <Button small disabled={queryId === null} title="Download all rows, not only those shown">
          <Icon name="download" size={14} /> Download
        </Button>
      }
    >
      <MenuLabel>All rows that match, searched afresh</MenuLabel>
      {queryId !== null &&
        CHOICES.map(({ name, format, shown }) => {
          const chosen = shown ? shownColumns : []
          return key === null ? (
            <MenuLink key={name} href={exportPath(queryId, format, chosen)} download>
              {name}
            </MenuLink>
          ) : (
            <MenuItem key={name} onSelect={() => void downloads.start(queryId, format, chosen)}>
              {name}
            </MenuItem>
          )
        })}
      {key !== null && !canWriteFiles() && (
        <MenuLabel>
          This browser keeps a download in memory until it is whole: up to {formatBytes(MAX_MEMORY_BYTES)}
        </MenuLabel>
      )}
    </Menu>
  )
}
