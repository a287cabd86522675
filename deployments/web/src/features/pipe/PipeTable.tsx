// The table that a pipe is answered with. A query in it is a link to the rows that it finds.
import type { Cell, Column } from '../../api/types'
import { TableRegion } from '../../ui/Table'
import { Text } from '../../ui/Text'
import { Link } from '../../view/Link'
import { formatFullTime } from '../../view/time'
import { searchHref, type View } from '../../view/view'
import { Bars } from './Bars'
import styles from './PipeTable.module.css'

/** Rows that are drawn: more than anybody scrolls through; `| limit` and `| top` choose them. */
export const MAX_SHOWN = 1_000
const NUMBER = new Intl.NumberFormat('en', { maximumSignificantDigits: 6 })
const WHOLE = new Intl.NumberFormat('en')
const NOTHING = '–'

interface PipeTableProps {
  columns: readonly Column[]
  rows: readonly (readonly Cell[])[]
  view: View
}

export function PipeTable({ columns, rows, view }: PipeTableProps) {
  return (
    <TableRegion label="Table" className={styles.scroll}>
      <thead>
        <tr>
          {columns.map(({ name, type }) => (
            <th key={name} scope="col" className={styles[type]}>
              <Text text={name} />
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.slice(0, MAX_SHOWN).map((row, at) => (
          <tr key={at}>
            {columns.map((column, place) => (
              <td key={column.name} className={styles[column.type]}>
                <Value column={column} value={row[place] ?? null} view={view} />
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </TableRegion>
  )
}

function Value({ column, value, view }: { column: Column; value: Cell; view: View }) {
  if (value === null) return NOTHING
  if (Array.isArray(value)) return <Bars values={value} />
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'number') return (Number.isInteger(value) ? WHOLE : NUMBER).format(value)
  if (column.type === 'time') return formatFullTime(value, view.zone)
  if (column.name !== 'query') return <Text text={value} />
  return (
    <Link href={searchHref({ ...view, query: value })} title={value}>
      Show rows
    </Link>
  )
}
