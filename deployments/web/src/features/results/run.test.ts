import { describe, expect, it, vi } from 'vitest'

import { eventOf, eventStream, json, sent, serve, stateOf, type Asked } from '../../api/server'
import type { LogEvent, QueryBody } from '../../api/types'
import { FIRST_ROWS, SearchRun, type Question } from './run'

const QUESTION: Question = { query: 'x', start: '-1h', order: 'newest', executor: 'auto' }

/** A server that holds events, newest first, and answers queries over them as ours does. */
function serveEvents(events: LogEvent[], late: () => LogEvent[] = () => []): Asked[] {
  const answers = new Map<string, LogEvent[]>()
  return serve({
    'POST /search/v1/queries': ({ body }) => {
      const { end, limit } = body as QueryBody
      const id = `q${answers.size + 1}`
      const all = answers.size === 0 ? events : [...late(), ...events]
      answers.set(id, all.filter((event) => end === undefined || event.timestamp < end).slice(0, limit))
      return json({ id, state: 'running' }, 201)
    },
    'GET /search/v1/queries/': ({ path }) => {
      const id = /queries\/(\w+)\/stream/.exec(path)?.[1] ?? ''
      const rows = answers.get(id) ?? []
      return eventStream(...rows.map((row, at) => sent('event', row, `r${at + 1}`)), sent('done', stateOf({ id })))
    },
    'DELETE /search/v1/queries/': () => json(stateOf({ state: 'cancelled' })),
  })
}

async function ended(run: SearchRun): Promise<void> {
  await vi.waitFor(() => expect(run.read().running).toBe(false))
}

describe('SearchRun', () => {
  it('ends with all rows when they are fewer than were asked for', async () => {
    serveEvents([eventOf(0), eventOf(1)])
    const run = new SearchRun(QUESTION)
    run.start()
    await ended(run)
    expect(run.read()).toMatchObject({ count: 2, hasMore: false, problem: null })
  })

  it('goes on behind the last row: nothing twice, nothing left out, though many rows share its microsecond', async () => {
    const events = Array.from({ length: FIRST_ROWS + 500 }, (_, row) =>
      eventOf(row, { timestamp: eventOf(row - (row % 7)).timestamp }),
    )
    const newer = eventOf(-5, { row: 99_999 })
    const asked = serveEvents(events, () => [newer])
    const run = new SearchRun(QUESTION)
    run.start()
    await ended(run)
    expect(run.read()).toMatchObject({ count: FIRST_ROWS, hasMore: true })
    run.more()
    await ended(run)
    expect(run.read().rows).toEqual(events)
    expect(run.read().hasMore).toBe(false)
    expect(asked.filter(({ method }) => method === 'POST')).toHaveLength(2)
  })

  it('cancels on the server what nobody looks at any more, also when its id comes late', async () => {
    let create: (response: Response) => void = () => undefined
    const asked = serve({
      'POST /search/v1/queries': () => new Promise<Response>((resolve) => (create = resolve)),
      'DELETE /search/v1/queries/q1': () => json(stateOf({ state: 'cancelled' })),
    })
    const run = new SearchRun(QUESTION)
    run.start()
    await vi.waitFor(() => expect(asked).toHaveLength(1))
    run.close()
    create(json({ id: 'q1', state: 'running' }, 201))
    await vi.waitFor(() => expect(asked.map(({ method }) => method)).toEqual(['POST', 'DELETE']))
  })

  it('stops a search that has no id yet as soon as it has one', async () => {
    let create: (response: Response) => void = () => undefined
    const asked = serve({
      'POST /search/v1/queries': () => new Promise<Response>((resolve) => (create = resolve)),
      'DELETE /search/v1/queries/q1': () => json(stateOf({ state: 'cancelled' })),
      'GET /search/v1/queries/q1/stream': () => eventStream(sent('done', stateOf({ state: 'cancelled' }))),
    })
    const run = new SearchRun(QUESTION)
    await run.cancel()
    run.start()
    await vi.waitFor(() => expect(asked).toHaveLength(1))
    create(json({ id: 'q1', state: 'running' }, 201))
    await ended(run)
    expect(asked.map(({ method }) => method)).toEqual(['POST', 'DELETE', 'GET'])
    expect(run.read().state?.state).toBe('cancelled')
  })

  it('says why an answer is not complete, and what failed', async () => {
    const state = stateOf({ complete: false, incomplete: ['vnode 3 has no owner'] })
    serve({
      'POST /search/v1/queries': () => json({ id: 'q1', state: 'running' }, 201),
      'GET /search/v1/queries/q1/stream': () => eventStream(sent('done', state)),
    })
    const run = new SearchRun(QUESTION)
    run.start()
    await ended(run)
    expect(run.read()).toMatchObject({ incomplete: ['vnode 3 has no owner'], hasMore: false })
    serve({ 'POST /search/v1/queries': () => json({ title: 'Bad query', detail: 'no', position: 1 }, 400) })
    const bad = new SearchRun(QUESTION)
    bad.start()
    await ended(bad)
    expect(bad.read().problem).toMatchObject({ status: 400, position: 1 })
  })
})
