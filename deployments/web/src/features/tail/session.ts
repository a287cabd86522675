// One live tail from its start to its end, over as many connections as it takes: a store outside React.
import { parseExact } from '../../api/exact'
import { pause } from '../../api/follow'
import { asProblem, isAbort, Problem } from '../../api/http'
import { readStream, type ServerEvent } from '../../api/stream'
import { tailPath, type TailError, type TailProgress } from '../../api/tail'
import type { LogEvent } from '../../api/types'
import { identity } from '../results/run'
import { TailBuffer } from './buffer'

/** Between two changes that are shown: rows come faster than screens show them. */
const TELL_MS = 100
const FIRST_RETRY_MS = 500
const MAX_RETRY_MS = 15_000
/** The server tells its progress every second: silence this long is a connection that died without a word. */
const SILENCE_MS = 10_000

export type TailPhase = 'connecting' | 'live' | 'reconnecting' | 'stopped' | 'failed'

export interface TailView {
  phase: TailPhase
  rows: readonly LogEvent[]
  /** Rows that came while the screen is held. */
  waiting: number
  letGo: number
  /** Over all connections; rate, lag and `incomplete` are the latest. */
  progress: TailProgress
  /** Why it connects again, or ended. */
  problem: Problem | null
}

const NOTHING: TailProgress = {
  matched: 0,
  shown: 0,
  skipped: 0,
  duplicates_suppressed: 0,
  rate_per_s: 0,
  lag_records: 0,
  incomplete: [],
}

export class TailSession {
  private readonly buffer = new TailBuffer()
  private readonly listeners = new Set<() => void>()
  private ending = new AbortController()
  private cursor: string | null = null
  /** Rows behind the cursor: the server gives them again to who connects anew. */
  private behind = new Set<string>()
  private repeated: ReadonlySet<string> = new Set()
  private held = false
  /** What earlier connections counted, and this one. */
  private before = NOTHING
  private latest = NOTHING
  /** Rows that came since the progress was told. */
  private uncounted = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private retryMs = FIRST_RETRY_MS
  private view: TailView = {
    phase: 'connecting',
    rows: [],
    waiting: 0,
    letGo: 0,
    progress: NOTHING,
    problem: null,
  }

  constructor(private readonly query: string) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  readonly read = (): TailView => this.view

  /** Begin, or go on behind the last row. */
  start(): void {
    this.ending.abort()
    this.ending = new AbortController()
    void this.run(this.ending.signal)
  }

  /** End it; the rows stay, and `start` goes on without a gap (within an hour). */
  stop(): void {
    this.close()
    this.change({ phase: 'stopped', problem: null })
  }

  /** Nobody looks any more. */
  close(): void {
    this.ending.abort()
    clearTimeout(this.timer)
    this.timer = undefined
  }

  /** While held, rows wait instead of moving the screen. */
  hold(held: boolean): void {
    this.held = held
    if (held) return
    this.buffer.release()
    this.change({})
  }

  private async run(signal: AbortSignal): Promise<void> {
    this.retryMs = FIRST_RETRY_MS
    this.change({ phase: 'connecting', problem: null })
    try {
      for (;;) {
        const problem = await this.connect(signal)
        this.change({ phase: 'reconnecting', problem })
        await pause(this.retryMs, signal)
        this.retryMs = Math.min(2 * this.retryMs, MAX_RETRY_MS)
      }
    } catch (error) {
      if (!signal.aborted) this.change({ phase: 'failed', problem: asProblem(error) })
    }
  }

  /** One connection to its end; gives why it ended. Raises what connecting again does not help against. */
  private async connect(signal: AbortSignal): Promise<Problem> {
    const attempt = new AbortController()
    const end = () => attempt.abort()
    signal.addEventListener('abort', end)
    let silence = setTimeout(end, SILENCE_MS)
    // What was never counted and does not come again is counted here.
    this.before = counted(total(this.before, this.latest), Math.max(0, this.uncounted - this.behind.size))
    this.latest = NOTHING
    this.uncounted = 0
    this.repeated = new Set([...this.repeated, ...this.behind])
    this.behind = new Set()
    try {
      await readStream(
        tailPath(this.query, this.cursor),
        (events) => {
          clearTimeout(silence)
          silence = setTimeout(end, SILENCE_MS)
          this.take(events)
        },
        attempt.signal,
      )
      return new Problem(0, 'The connection ended', 'The server ended the stream.')
    } catch (error) {
      if (signal.aborted || error instanceof Final || (error instanceof Problem && isFinal(error))) throw error
      if (error instanceof Problem) return error
      const why = isAbort(error) ? 'The server has been silent for too long.' : 'The connection broke.'
      return new Problem(0, 'The connection broke', why)
    } finally {
      clearTimeout(silence)
      attempt.abort() // also where we stopped reading
      signal.removeEventListener('abort', end)
    }
  }

  private take(events: readonly ServerEvent[]): void {
    const rows: LogEvent[] = []
    for (const event of events) {
      if (event.event === 'event') this.takeRow(parseExact(event.data) as LogEvent, rows)
      else if (event.event === 'progress') {
        this.latest = JSON.parse(event.data) as TailProgress
        this.uncounted = 0
        this.retryMs = FIRST_RETRY_MS
      } else if (event.event === 'error') {
        if (rows.length > 0) this.buffer.add(rows.splice(0), this.held)
        const { detail, reconnect } = JSON.parse(event.data) as TailError
        throw reconnect ? new Problem(503, 'The server asks to connect again', detail) : new Final(detail)
      }
      if (event.id !== undefined) {
        this.cursor = event.id
        this.behind = new Set()
        this.repeated = new Set()
      }
    }
    if (rows.length > 0) this.buffer.add(rows, this.held)
    this.tellSoon()
  }

  private takeRow(row: LogEvent, rows: LogEvent[]): void {
    const name = identity(row)
    this.behind.add(name)
    if (this.repeated.has(name)) return
    rows.push(row)
    this.uncounted += 1
  }

  private change(part: Partial<TailView>): void {
    clearTimeout(this.timer)
    this.timer = undefined
    const { shown, waiting, letGo } = this.buffer
    const progress = counted(total(this.before, this.latest), this.uncounted)
    this.view = { ...this.view, rows: shown, waiting: waiting.length, letGo, progress, ...part }
    this.listeners.forEach((listener) => listener())
  }

  private tellSoon(): void {
    this.timer ??= setTimeout(() => this.change({ phase: 'live', problem: null }), TELL_MS)
  }
}

/** The server says that connecting again does not help. */
class Final extends Problem {
  constructor(detail: string) {
    super(400, 'The tail has ended', detail)
  }
}

/** Refused for what was asked, not for the moment; 429: too many tails just now. */
function isFinal({ status }: Problem): boolean {
  return status >= 400 && status < 500 && status !== 429
}

function counted(progress: TailProgress, rows: number): TailProgress {
  return { ...progress, matched: progress.matched + rows, shown: progress.shown + rows }
}

function total(before: TailProgress, latest: TailProgress): TailProgress {
  return {
    ...latest,
    matched: before.matched + latest.matched,
    shown: before.shown + latest.shown,
    skipped: before.skipped + latest.skipped,
    duplicates_suppressed: before.duplicates_suppressed + latest.duplicates_suppressed,
  }
}
