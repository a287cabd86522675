// The rows that a tail keeps: the newest ones, while more come than anybody can hold.
import type { LogEvent } from '../../api/types'

/** Rows that are kept: about 5 MB, and more than anybody scrolls back. Whoever wants older ones searches. */
export const MAX_TAIL_ROWS = 5_000

/**
 * Rows on the screen, and behind them those that wait while a person reads. Together they are at most `max`; the oldest
 * go first, from the screen only when it is let go on.
 */
export class TailBuffer {
  /** A new array after each change, oldest first. */
  shown: readonly LogEvent[] = []
  waiting: readonly LogEvent[] = []
  /** Rows that were kept once. */
  letGo = 0

  constructor(private readonly max = MAX_TAIL_ROWS) {}

  add(rows: readonly LogEvent[], held: boolean): void {
    if (held) this.waiting = this.newest([...this.waiting, ...rows])
    else this.shown = this.newest([...this.shown, ...rows])
  }

  /** Put what waits on the screen. */
  release(): void {
    if (this.waiting.length === 0) return
    this.shown = this.newest([...this.shown, ...this.waiting])
    this.waiting = []
  }

  private newest(rows: LogEvent[]): LogEvent[] {
    const tooMany = rows.length - this.max
    if (tooMany <= 0) return rows
    this.letGo += tooMany
    return rows.slice(tooMany)
  }
}
