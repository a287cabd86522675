// The endpoints of `/search`, as functions.
import { sendJson, withParameters } from './http'
import { FIRST_PAGE_ROWS } from './follow'
import type { AggregationBody, Begun, FieldsAnswer, PipeBody, QueryBody, ValuesAnswer } from './types'

const ROOT = '/search/v1'

/** What the field endpoints look at: the same as the search beside them. */
export interface FieldScope {
  query: string
  start: string
  end?: string
}

/** How long a new search waits for its first page, in seconds: most have ended by then, and the others are followed. */
const FIRST_WAIT_S = 0.3

/** Start a search. Answered with its first page as soon as that is full or the search has ended. */
export function createQuery(body: QueryBody): Promise<Begun> {
  return sendJson(`${ROOT}/queries`, { method: 'POST', body: { ...body, wait: FIRST_WAIT_S, page: FIRST_PAGE_ROWS } })
}

/** Start to count. Answered as soon as everything is counted. */
export function createAggregation(body: AggregationBody): Promise<Begun> {
  return sendJson(`${ROOT}/aggregations`, { method: 'POST', body: { ...body, wait: FIRST_WAIT_S } })
}

/** Start to make a table. Answered as soon as it is whole. */
export function createPipe(body: PipeBody): Promise<Begun> {
  return sendJson(`${ROOT}/pipes`, { method: 'POST', body: { ...body, wait: FIRST_WAIT_S } })
}

/** End a search or an aggregation; what it found stays. Also while the page is being left. */
export function cancelQuery(id: string): Promise<unknown> {
  return sendJson(`${ROOT}/queries/${encodeURIComponent(id)}`, { method: 'DELETE', keepalive: true })
}

export function getFields(scope: FieldScope, signal: AbortSignal): Promise<FieldsAnswer> {
  return sendJson(withParameters(`${ROOT}/fields`, { ...scope }), { signal })
}

export function getValues(
  field: string,
  scope: FieldScope,
  options: { top: number; prefix?: string },
  signal: AbortSignal,
): Promise<ValuesAnswer> {
  const path = `${ROOT}/fields/${encodeURIComponent(field)}/values`
  return sendJson(withParameters(path, { ...scope, ...options }), { signal })
}
