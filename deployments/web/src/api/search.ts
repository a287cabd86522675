// The endpoints of `/search`, as functions. May live here: paths and bodies. May not: when to call them.
import { sendJson, withParameters } from './http'
import type { AggregationBody, Created, FieldsAnswer, PipeBody, QueryBody, ValuesAnswer } from './types'

const ROOT = '/search/v1'

/** What the field endpoints look at: the same as the search beside them. */
export interface FieldScope {
  query: string
  start: string
  end?: string
}

export function createQuery(body: QueryBody): Promise<Created> {
  return sendJson(`${ROOT}/queries`, { method: 'POST', body })
}

export function createAggregation(body: AggregationBody): Promise<Created> {
  return sendJson(`${ROOT}/aggregations`, { method: 'POST', body })
}

export function createPipe(body: PipeBody): Promise<Created> {
  return sendJson(`${ROOT}/pipes`, { method: 'POST', body })
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
