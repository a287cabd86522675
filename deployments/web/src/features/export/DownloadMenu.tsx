// The whole answer as a file, in one of three formats.
import { exportPath, FORMATS, type Format } from '../../api/exports'
import { useKey } from '../../api/key'
import { Button } from '../../ui/Button'
import { formatBytes } from '../../ui/format'
import { Icon } from '../../ui/Icon'
import { Menu, MenuItem, MenuLabel, MenuLink } from '../../ui/Menu'
import { downloads } from './downloads'
import { canWriteFiles, MAX_MEMORY_BYTES } from './sink'

const NAMES: Record<Format, string> = {
  ndjson: 'NDJSON: one JSON object a line',
  csv: 'CSV: for spreadsheets',
  parquet: 'Parquet: for analysis',
}

/** `queryId`: of the search whose answer it is; null while there is none. */
export function DownloadMenu({ queryId }: { queryId: string | null }) {
  const { key } = useKey()
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
        FORMATS.map((format) =>
          key === null ? (
            <MenuLink key={format} href={exportPath(queryId, format)} download>
              {NAMES[format]}
            </MenuLink>
          ) : (
            <MenuItem key={format} onSelect={() => void downloads.start(queryId, format)}>
              {NAMES[format]}
            </MenuItem>
          ),
        )}
      {key !== null && !canWriteFiles() && (
        <MenuLabel>
          This browser keeps a download in memory until it is whole: up to {formatBytes(MAX_MEMORY_BYTES)}
        </MenuLabel>
      )}
    </Menu>
  )
}
