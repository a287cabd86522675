// The plan of a search, told without running it.
import { sendJson } from './http'
import type { QueryBody } from './types'

/** Estimates of a search that has to read everything; one that fills its limit before reads less. */
export interface Explanation {
  /** The query as it was understood, in words. */
  query: string
  start: string | null
  end: string | null
  objects_total: number
  objects_pruned: number
  objects: number
  /** Of the objects that are left. */
  bytes_total: number
  /** Of these, about what lies in the time range. */
  bytes_to_read: number
  gets: number
  in_flight_rows: number
  executor: string
  /** For the executor; 0: all is done where it is planned. */
  tasks: number
  /** Null: without Lambda. */
  lambda: { invocations: number; gb_seconds: number; estimated_cost_usd: number } | null
  /** What lets rows be left out untested. */
  prefilter: string[]
  complete: boolean
  incomplete: string[]
}

export function explainQuery(body: QueryBody, signal: AbortSignal): Promise<Explanation> {
  return sendJson('/search/v1/explain', { method: 'POST', body, signal })
}
