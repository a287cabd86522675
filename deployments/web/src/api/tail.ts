// The live tail: its address, and what its events say.
import { withParameters } from './http'

/** Counts are of one connection. `shown`, `skipped` and the repeats add up to `matched`. */
export interface TailProgress {
  matched: number
  shown: number
  /** Matched, but left out by the server: more came than anybody reads. */
  skipped: number
  duplicates_suppressed: number
  rate_per_s: number
  /** Records of the log that the tail has not looked at yet. */
  lag_records: number
  incomplete: string[]
}

export interface TailError {
  detail: string
  /** Whether connecting again helps. */
  reconnect: boolean
}

/** `cursor`: what was last told; the tail goes on behind it, within an hour. */
export function tailPath(query: string, cursor: string | null): string {
  return withParameters('/search/v1/tail', { query, cursor: cursor ?? undefined })
}
