// Following a search or an aggregation to its end: by its stream, and by polling where streams do not get through.
import { parseExact } from './exact'
import { isAbort, Problem, sendJson, withParameters } from './http'
import { readStream, type ServerEvent } from './stream'
import { isUnderWay, type AnswerPage, type AnswerState, type Begun, type LogEvent } from './types'

/** Rows that a new search is answered with: a screen of them. */
export const FIRST_PAGE_ROWS = 100
/** Rows in one polled page: about half a megabyte. */
const PAGE_ROWS = 1_000
/** Between polls of an answer that has nothing new: below what a person notices. */
const POLL_MS = 250
/** Attempts that may fail one after the other, with no answer or with 5xx, before the failure is told. */
const ATTEMPTS = 5

interface StreamError {
  detail: string
  /** Whether asking again, from the last row on, helps. */
  reconnect?: boolean
  /** That of the refusal when the key no longer holds; absent when the answer itself is gone. */
  status?: number
}

export interface Follower<S extends AnswerState> {
  onRows?: (rows: LogEvent[]) => void
  onState: (state: S) => void
}

/**
 * Follow what was begun until it is no longer running: what it was answered with, and, unless that is all, the rest.
 * Raises Problem, and AbortError when `signal` says so.
 */
export async function follow<S extends AnswerState>(
  begun: Begun,
  follower: Follower<S>,
  signal: AbortSignal,
): Promise<void> {
  const { id } = begun
  const at = { cursor: '', finished: false }
  if ('cursor' in begun) {
    const { events, ...state } = begun
    if (events.length > 0) follower.onRows?.(events)
    follower.onState(state as unknown as S)
    if (!isUnderWay(state.state) && events.length < FIRST_PAGE_ROWS) return
    at.cursor = state.cursor
  }
  const take = (events: ServerEvent[]) => {
    const rows: LogEvent[] = []
    const tellRows = () => {
      if (rows.length > 0) follower.onRows?.(rows.splice(0))
    }
    for (const event of events) {
      if (event.event === 'event') {
        rows.push(parseExact(event.data) as LogEvent)
        if (event.id !== undefined) at.cursor = event.id
      } else if (event.event === 'progress' || event.event === 'done') {
        tellRows() // a state counts for the rows before it
        follower.onState(JSON.parse(event.data) as S)
        at.finished ||= event.event === 'done'
      } else if (event.event === 'error') {
        tellRows()
        const { detail, reconnect, status } = JSON.parse(event.data) as StreamError
        // The replica is about to end, say: any other answers for it, and the rest is polled like that of a cut stream.
        if (!reconnect) throw new Problem(status ?? 404, 'The answer is gone', detail)
      }
    }
    tellRows()
  }
  try {
    await readStream(streamPath(id, at.cursor), take, signal)
  } catch (error) {
    if (isAbort(error) || (error instanceof Problem && error.status !== 0 && error.status < 500)) throw error
  }
  // A stream that broke, or that somebody on the way cut short: what is missing is polled from where it stopped.
  if (!at.finished) await poll(id, at.cursor, follower, signal)
}

function streamPath(id: string, cursor: string): string {
  return withParameters(`/search/v1/queries/${encodeURIComponent(id)}/stream`, { cursor: cursor || undefined })
}

async function poll<S extends AnswerState>(
  id: string,
  from: string,
  follower: Follower<S>,
  signal: AbortSignal,
): Promise<void> {
  let cursor = from
  let failures = 0
  for (;;) {
    try {
      const path = withParameters(`/search/v1/queries/${encodeURIComponent(id)}`, {
        cursor: cursor || undefined,
        limit: PAGE_ROWS,
      })
      const { events, ...state } = await sendJson<AnswerPage>(path, { signal })
      failures = 0
      cursor = state.cursor
      if (events.length > 0) follower.onRows?.(events)
      if (events.length < PAGE_ROWS) {
        follower.onState(state as unknown as S)
        if (!isUnderWay(state.state)) return
        await pause(POLL_MS, signal)
      }
    } catch (error) {
      const passing = error instanceof Problem && (error.status === 0 || error.status >= 500)
      if (!passing || ++failures >= ATTEMPTS) throw error
      await pause(POLL_MS * 2 ** failures, signal)
    }
  }
}

/** Wait; raises AbortError when `signal` says so. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        reject(new DOMException('aborted', 'AbortError'))
      },
      { once: true },
    )
  })
}
