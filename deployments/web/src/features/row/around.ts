// What a host said just before and after an event: two short searches that meet at its timestamp.
import { follow } from '../../api/follow'
import { cancelQuery, createQuery } from '../../api/search'
import type { LogEvent, QueryBody } from '../../api/types'
import { fieldTerm } from '../../query/terms'
import { toRfc3339 } from '../../view/time'
import type { View } from '../../view/view'

/** How far back or ahead is looked: the searches stop as soon as they have their rows. */
const REACH_MS = 86_400_000

export interface Around {
  /** In the order in which they happened. */
  events: LogEvent[]
  complete: boolean
  incomplete: string[]
}

/** The query of an event's neighbours: those of its host, or of its service, or all. */
export function neighboursQuery(event: LogEvent): string {
  if (event.host !== null) return fieldTerm('host', event.host)
  return event.service === null ? '' : fieldTerm('service', event.service)
}

export async function around(event: LogEvent, view: View, rows: number, signal: AbortSignal): Promise<Around> {
  const at = Date.parse(event.timestamp)
  const shared = { query: neighboursQuery(event), executor: view.executor, limit: rows }
  const [before, after] = await Promise.all([
    answer({ ...shared, start: toRfc3339(at - REACH_MS), end: event.timestamp, order: 'newest' }, signal),
    // One more: the event itself is among these.
    answer(
      { ...shared, start: event.timestamp, end: toRfc3339(at + REACH_MS), order: 'oldest', limit: rows + 1 },
      signal,
    ),
  ])
  return {
    events: [...before.events.reverse(), ...after.events],
    complete: before.complete && after.complete,
    incomplete: [...before.incomplete, ...after.incomplete],
  }
}

async function answer(body: QueryBody, signal: AbortSignal): Promise<Around> {
  const begun = await createQuery(body)
  const { id } = begun
  const found: Around = { events: [], complete: false, incomplete: [] }
  // Should the cancelling fail, the search ends by itself.
  signal.addEventListener('abort', () => void cancelQuery(id).catch(() => undefined), { once: true })
  signal.throwIfAborted()
  await follow(
    begun,
    {
      onRows: (rows) => found.events.push(...rows),
      onState: (state) => {
        found.complete = state.complete
        found.incomplete = state.incomplete
      },
    },
    signal,
  )
  return found
}
