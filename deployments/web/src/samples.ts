// Made-up data for tests.
import type { LogEvent } from './api/types'

export function anEvent(part: Partial<LogEvent> = {}): LogEvent {
  return {
    timestamp: '2026-11-24T10:22:33.123456Z',
    observed_timestamp: null,
    level: 'INFO',
    severity_number: 9,
    service: 'api',
    host: 'web-1',
    message: 'something happened',
    trace_id: null,
    span_id: null,
    attributes: {},
    id: null,
    log_id: 'log',
    vnode: 0,
    offset: 0,
    row: 0,
    ...part,
  }
}

/** One server-sent event. */
export function sse(event: string, data: unknown, id?: string): string {
  return `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`
}
