import { useQuery } from '@tanstack/react-query'
import { useCallback, useState, type CSSProperties } from 'react'

import { asProblem } from '../../api/http'
import type { LogEvent } from '../../api/types'
import type { Marker } from '../../query/matches'
import { Button, buttonClass } from '../../ui/Button'
import { classes } from '../../ui/classes'
import { Dialog } from '../../ui/Dialog'
import { Empty, Notice } from '../../ui/Notice'
import { Link } from '../../view/Link'
import { toRfc3339 } from '../../view/time'
import { searchHref, type View } from '../../view/view'
import { identity } from '../results/run'
import { around, neighboursQuery } from './around'
import styles from './Around.module.css'
import { Row } from './Row'

const FIRST_ROWS = 25
const MAX_ROWS = 400
/** The range of the link to the search of all neighbours. */
const LINK_MS = 300_000

interface AroundDialogProps {
  event: LogEvent
  view: View
  marker: Marker
  onClose: () => void
}

export function AroundDialog({ event, view, marker, onClose }: AroundDialogProps) {
  const [rows, setRows] = useState(FIRST_ROWS)
  const own = identity(event)
  const found = useQuery({
    queryKey: ['around', own, rows, view.executor],
    queryFn: ({ signal }) => around(event, view, rows, signal),
    placeholderData: (before) => before,
  })
  const middle = useCallback((row: HTMLElement | null) => row?.scrollIntoView({ block: 'center' }), [])
  const at = Date.parse(event.timestamp)
  const range = { start: toRfc3339(at - LINK_MS), end: toRfc3339(at + LINK_MS) }
  const query = neighboursQuery(event)
  const where = event.host !== null ? `on ${event.host}` : event.service !== null ? `of ${event.service}` : 'anywhere'
  const all = [event, ...(found.data?.events ?? [])]
  // Should the searches not hold the event itself (it may have just been removed), it still stands in the middle.
  const shown = found.data?.events.some((one) => identity(one) === own) ? found.data.events : sorted(all)
  return (
    <Dialog title={`Before and after, ${where}`} onClose={onClose} shape="wide">
      <div className={styles.tools}>
        <Button small disabled={rows >= MAX_ROWS || found.isFetching} onClick={() => setRows(rows * 4)}>
          {found.isFetching ? 'Looking …' : 'Show more'}
        </Button>
        <Link className={buttonClass('usual', true)} href={searchHref({ ...view, ...range, query })} onClick={onClose}>
          Open as a search
        </Link>
      </div>
      {found.error && <Notice kind="bad">{asProblem(found.error).message}</Notice>}
      {found.data && !found.data.complete && (
        <Notice kind="warn">Not everything could be looked at: {found.data.incomplete.join('; ')}</Notice>
      )}
      {found.isPending ? (
        <Empty title="Looking …" />
      ) : (
        <div
          role="grid"
          aria-label="Events around"
          tabIndex={0}
          className={styles.rows}
          style={{ '--columns': view.columns.length } as CSSProperties}
        >
          {shown.map((one) => {
            const isIt = identity(one) === own
            return (
              <div
                key={identity(one)}
                role="row"
                aria-current={isIt || undefined}
                className={classes(isIt && styles.it)}
                ref={isIt ? middle : undefined}
              >
                <Row
                  event={one}
                  columns={view.columns}
                  marker={marker}
                  zone={view.zone}
                  wrap
                  open={isIt}
                  active={false}
                />
              </div>
            )
          })}
        </div>
      )}
    </Dialog>
  )
}

function sorted(events: LogEvent[]): LogEvent[] {
  return events.sort((one, other) => (one.timestamp < other.timestamp ? -1 : 1))
}
