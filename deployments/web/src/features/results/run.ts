// One search from its first row to as many as a person scrolls to: a store outside React, which only ever appends.
//
// The first answer is short, so that the server may stop early. What is scrolled to beyond it is a search of its own,
// that begins at the last row: the order is total, so that nothing is doubled or left out between two answers.
import { follow } from '../../api/follow'
import { asProblem, isAbort, type Problem } from '../../api/http'
import { cancelQuery, createQuery } from '../../api/search'
import { isUnderWay, type AnswerState, type LogEvent, type QueryBody } from '../../api/types'
import { nextMicrosecond } from '../../view/time'

/** Rows of the first answer: more than fit on a screen, few enough to be found at once. */
export const FIRST_ROWS = 1_000
/** Rows of each further answer: ten of them make 100,000. */
export const MORE_ROWS = 10_000
/** Rows that one page keeps, at about a kilobyte each: beyond, a shorter time range serves better than scrolling. */
export const MAX_ROWS = 200_000
/** Between two changes that are shown, once the first rows are there. */
const TELL_MS = 60

export type Question = Omit<QueryBody, 'limit'>

export interface RunView {
  /** The same array throughout; `count` says how much of it is there. */
  rows: readonly LogEvent[]
  count: number
  /** Of the latest answer. Null until the server has said something. */
  state: AnswerState | null
  queryId: string | null
  /** Of the first answer: the whole search, whatever was scrolled to. */
  firstId: string | null
  running: boolean
  /** The last answer stopped at its limit: there is more behind it. */
  hasMore: boolean
  /** Over all answers. */
  incomplete: readonly string[]
  problem: Problem | null
}

export function identity(event: LogEvent): string {
  return `${event.log_id}/${event.vnode}/${event.offset}/${event.row}`
}

let runs = 0

export class SearchRun {
  /** Tells runs apart. */
  readonly number = (runs += 1)
  private readonly rows: LogEvent[] = []
  private readonly listeners = new Set<() => void>()
  private ending = new AbortController()
  /** A person wants no more of what is under way. */
  private stopping = false
  private readonly incomplete = new Set<string>()
  private timer: ReturnType<typeof setTimeout> | undefined
  private toldMs = 0
  private pending: Partial<RunView> = {}
  private view: RunView = {
    rows: this.rows,
    count: 0,
    state: null,
    queryId: null,
    firstId: null,
    running: true,
    hasMore: false,
    incomplete: [],
    problem: null,
  }

  constructor(private readonly question: Question) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  readonly read = (): RunView => this.view

  /** Ask for the first rows. */
  start(): void {
    if (this.ending.signal.aborted) this.ending = new AbortController() // React's strict mode mounts everything twice
    void this.answer({ ...this.question, limit: FIRST_ROWS }, new Set())
  }

  /** Ask for the rows behind the last one, if there are any and nothing is under way. */
  more(): void {
    const last = this.rows.at(-1)
    if (this.view.running || !this.view.hasMore || last === undefined) return
    const seen = new Set<string>() // the rows of the last one's microsecond come again
    for (let at = this.rows.length - 1; this.rows[at]?.timestamp === last.timestamp; at -= 1) {
      const row = this.rows[at]
      if (row) seen.add(identity(row))
    }
    const bounds =
      this.question.order === 'newest' ? { end: nextMicrosecond(last.timestamp) } : { start: last.timestamp }
    void this.answer({ ...this.question, ...bounds, limit: MORE_ROWS + seen.size }, seen)
  }

  /**
   * Stop what is under way; the rows stay. The server then tells that it was cancelled. A search that has no id yet is
   * stopped as soon as it has one.
   */
  async cancel(): Promise<void> {
    const { running, queryId } = this.view
    if (!running) return
    this.stopping = true
    if (queryId !== null) await this.stop(queryId)
  }

  private async stop(id: string): Promise<void> {
    try {
      await cancelQuery(id)
    } catch (error) {
      this.change({ problem: asProblem(error) })
    }
  }

  /** Nobody looks any more: end what is under way, here and on the server. */
  close(): void {
    this.ending.abort()
    clearTimeout(this.timer)
    const { running, queryId } = this.view
    if (running && queryId !== null) free(queryId)
  }

  private async answer(body: QueryBody, seen: ReadonlySet<string>): Promise<void> {
    const { signal } = this.ending
    let arrived = 0
    this.change({ running: true, hasMore: false, problem: null, queryId: null })
    try {
      // Not ended by `ending`: an id that never reaches us could not be cancelled.
      const begun = await createQuery(body)
      const { id } = begun
      if (signal.aborted) {
        free(id)
        return
      }
      this.change({ queryId: id, firstId: this.view.firstId ?? id })
      if (this.stopping) await this.stop(id)
      await follow(
        begun,
        {
          onRows: (rows) => {
            arrived += rows.length
            for (const row of rows) if (!seen.has(identity(row))) this.rows.push(row)
            this.tellSoon({ count: this.rows.length })
          },
          onState: (state: AnswerState) => {
            if (!isUnderWay(state.state) && !state.complete) state.incomplete.forEach((why) => this.incomplete.add(why))
            this.tellSoon({ state, incomplete: [...this.incomplete] })
          },
        },
        signal,
      )
      this.change({}) // what waits counts too
      const state = this.view.state?.state
      const full = state === 'truncated' || (state === 'done' && arrived >= body.limit)
      this.change({ running: false, hasMore: full && this.rows.length < MAX_ROWS })
    } catch (error) {
      if (!signal.aborted && !isAbort(error)) this.change({ running: false, problem: asProblem(error) })
    } finally {
      this.stopping = false
    }
  }

  /** Change what is told, now, with everything that waits. */
  private change(part: Partial<RunView>): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.toldMs = performance.now()
    this.view = { ...this.view, ...this.pending, ...part }
    this.pending = {}
    this.listeners.forEach((listener) => listener())
  }

  /** Rows come faster than screens show them: tell at once, then at most every TELL_MS. */
  private tellSoon(part: Partial<RunView>): void {
    this.pending = { ...this.pending, ...part }
    const waitMs = this.toldMs + TELL_MS - performance.now()
    if (waitMs <= 0) this.change({})
    else this.timer ??= setTimeout(() => this.change({}), waitMs)
  }
}

/** Cancel what nobody waits for. Should that fail, the search ends by itself: there is nobody to tell. */
function free(id: string): void {
  void cancelQuery(id).catch(() => undefined)
}
