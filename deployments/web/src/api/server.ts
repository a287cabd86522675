// For tests: a server that answers `fetch` from a table of routes, with real Responses. May not be used by the page.
import { vi } from 'vitest'

import type { AnswerState, LogEvent, Progress } from './types'

export interface Asked {
  method: string
  path: string
  headers: Headers
  body: unknown
}

export type Route = (asked: Asked, signal: AbortSignal | undefined) => Response | Promise<Response>

/** Answer requests with the first route whose `METHOD /path` begins theirs; gives what was asked so far. */
export function serve(routes: Record<string, Route>): Asked[] {
  const asked: Asked[] = []
  vi.stubGlobal('fetch', async (input: string, init: RequestInit = {}) => {
    init.signal?.throwIfAborted()
    const body: unknown = typeof init.body === 'string' ? JSON.parse(init.body) : undefined
    const one = { method: init.method ?? 'GET', path: input, headers: new Headers(init.headers), body }
    asked.push(one)
    const route = Object.keys(routes)
      .filter((start) => `${one.method} ${input}`.startsWith(start))
      .sort((a, b) => b.length - a.length)[0]
    const answer = route === undefined ? undefined : routes[route]
    if (!answer) throw new TypeError(`nothing answers ${one.method} ${input}`)
    return answer(one, init.signal ?? undefined)
  })
  return asked
}

export function json(body: unknown, status = 200): Response {
  const type = status < 400 ? 'application/json' : 'application/problem+json'
  return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': type } })
}

/** A stream of server-sent events, in network reads as given. */
export function eventStream(...chunks: string[]): Response {
  const encoder = new TextEncoder()
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      chunks.forEach((chunk) => controller.enqueue(encoder.encode(chunk)))
      controller.close()
    },
  })
  return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
}

/** A stream that gives its chunks, and then ends, breaks, or stays until `signal` ends it. */
export function scripted(chunks: string[], then: 'end' | 'cut' | 'stay', signal?: AbortSignal): Response {
  const left = chunks.map((chunk) => new TextEncoder().encode(chunk))
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      signal?.addEventListener('abort', () => controller.error(new DOMException('aborted', 'AbortError')))
    },
    pull: (controller) => {
      const chunk = left.shift()
      if (chunk !== undefined) controller.enqueue(chunk)
      else if (then === 'end') controller.close()
      else if (then === 'cut') controller.error(new TypeError('network error'))
      else return new Promise(() => undefined)
      return undefined
    },
  })
  return new Response(body)
}

export function sent(kind: string, data: unknown, id?: string): string {
  return `event: ${kind}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`
}

const PROGRESS: Progress = {
  objects_total: 2,
  objects_pruned: 0,
  objects_done: 2,
  objects_failed: 0,
  bytes_total: 2_048,
  bytes_read: 2_048,
  rows_matched: 3,
  duplicates_suppressed: 0,
  in_flight_rows: 0,
  complete_from: null,
}

export function stateOf(part: Partial<AnswerState> = {}): AnswerState {
  return {
    id: 'q1',
    state: 'done',
    progress: PROGRESS,
    complete: true,
    incomplete: [],
    hints: [],
    elapsed_ms: 12,
    ...part,
  }
}

export function eventOf(row: number, part: Partial<LogEvent> = {}): LogEvent {
  return {
    timestamp: new Date(Date.UTC(2026, 10, 24, 10, 0, 0) - row * 1_000).toISOString().replace('Z', '000Z'),
    observed_timestamp: null,
    level: 'INFO',
    severity_number: 9,
    service: 'api',
    host: 'web-1',
    message: `message ${row}`,
    trace_id: null,
    span_id: null,
    attributes: {},
    id: null,
    log_id: 'log',
    vnode: 0,
    offset: 7,
    row,
    ...part,
  }
}
