// One event on one line: level, time, chosen columns, message.
import { memo } from 'react'

import type { LogEvent } from '../../api/types'
import type { Marker } from '../../query/matches'
import { classes } from '../../ui/classes'
import { toneOf } from '../../ui/levels'
import { Text } from '../../ui/Text'
import { formatRowTime } from '../../view/time'
import type { Zone } from '../../view/view'
import { valueOf } from './fields'
import styles from './Row.module.css'

/** Characters of a message in a row: some screens full. All of them stand in the opened event. */
const ROW_CHARS = 600
const WRAPPED_CHARS = 4_000

export interface RowProps {
  event: LogEvent
  columns: readonly string[]
  marker: Marker
  zone: Zone
  wrap: boolean
  open: boolean
  /** Where the keys act. */
  active: boolean
}

/** The cells of a row; the list around it gives it its place and its role. */
export const Row = memo(function Row({ event, columns, marker, zone, wrap, open, active }: RowProps) {
  const most = wrap ? WRAPPED_CHARS : ROW_CHARS
  const message = event.message.length > most ? event.message.slice(0, most) : event.message
  return (
    <div
      className={classes(styles.cells, wrap && styles.wrapped, open && styles.open, active && styles.active)}
      data-tone={toneOf(event.level)}
      role="presentation"
    >
      <span role="gridcell" className={styles.time}>
        <time dateTime={event.timestamp}>{formatRowTime(event.timestamp, zone)}</time>
      </span>
      <span role="gridcell" className={styles.level}>
        {event.level === null ? '' : <Text text={event.level} />}
      </span>
      {columns.map((name) => (
        <span key={name} role="gridcell" className={styles.column}>
          <Text text={valueOf(event, name) ?? ''} />
        </span>
      ))}
      <span role="gridcell" className={styles.message}>
        <Text text={message} spans={marker(message)} />
        {message.length < event.message.length && <span className={styles.cut}> …</span>}
      </span>
    </div>
  )
})
