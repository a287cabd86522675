import { afterEach, expect, test, vi } from 'vitest'

import { anEvent, sse } from '../../samples'
import { TailSession, type TailView } from './session'

/** A server that answers each request with the next script: text to send, then the end ("cut": the connection breaks). */
type Script = { text: string; then: 'end' | 'cut' | 'stay' } | { status: number; problem: object }

const sessions: TailSession[] = []
afterEach(() => {
  sessions.splice(0).forEach((session) => session.close())
  vi.useRealTimers()
})

function serve(...scripts: Script[]): string[] {
  const asked: string[] = []
  vi.stubGlobal('fetch', (path: string, { signal }: { signal: AbortSignal }) => {
    asked.push(path)
    const script = scripts.shift()
    if (script === undefined) return new Promise(() => undefined)
    if ('status' in script) return Promise.resolve(Response.json(script.problem, { status: script.status }))
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        signal.addEventListener('abort', () => controller.error(new DOMException('aborted', 'AbortError')))
      },
      pull: (controller) => {
        if (script.text !== '') controller.enqueue(new TextEncoder().encode(script.text))
        else if (script.then === 'end') controller.close()
        else if (script.then === 'cut') controller.error(new TypeError('network error'))
        else return new Promise(() => undefined)
        script.text = ''
        return undefined
      },
    })
    return Promise.resolve(new Response(body))
  })
  return asked
}

function begin(query = ''): TailSession {
  const session = new TailSession(query)
  sessions.push(session)
  session.start()
  return session
}

function progress(part: object = {}): object {
  const none = { matched: 0, shown: 0, skipped: 0, duplicates_suppressed: 0, rate_per_s: 0, lag_records: 0 }
  return { ...none, incomplete: [], ...part }
}

async function until(session: TailSession, holds: (view: TailView) => boolean): Promise<TailView> {
  await vi.waitFor(() => expect(holds(session.read())).toBe(true), { timeout: 5_000 })
  return session.read()
}

const row = (offset: number, id?: string) => sse('event', anEvent({ offset }), id)
const offsets = (view: TailView) => view.rows.map(({ offset }) => offset)

test('rows and figures come as they are told', async () => {
  const asked = serve({
    text:
      sse('progress', progress(), 'c0') + row(1) + row(2, 'c1') + sse('progress', progress({ matched: 5, skipped: 3 })),
    then: 'stay',
  })
  const view = await until(
    begin('level:ERROR'),
    ({ phase, progress: { matched } }) => phase === 'live' && matched === 5,
  )
  expect(offsets(view)).toEqual([1, 2])
  expect(view.progress.skipped).toBe(3)
  expect(asked).toEqual(['/search/v1/tail?query=level%3AERROR'])
})

test('a broken connection goes on behind the last cursor, and rows that come again are shown once', async () => {
  const asked = serve(
    { text: sse('progress', progress({ matched: 1, shown: 1 }), 'c0') + row(1, 'c1') + row(2), then: 'cut' },
    { text: row(2), then: 'end' },
    { text: row(2) + row(3, 'c3') + sse('progress', progress({ matched: 2, shown: 2 }), 'c3'), then: 'stay' },
  )
  const view = await until(begin(), ({ rows, phase }) => rows.length === 3 && phase === 'live')
  expect(offsets(view)).toEqual([1, 2, 3])
  expect(view.progress.matched).toBe(3)
  expect(asked.slice(1)).toEqual(['/search/v1/tail?query=&cursor=c1', '/search/v1/tail?query=&cursor=c1'])
})

test('a server that is about to end is connected to again, and says why', async () => {
  serve({ text: sse('error', { detail: 'this replica is about to end', reconnect: true }), then: 'stay' })
  const view = await until(begin(), ({ phase }) => phase === 'reconnecting')
  expect(view.problem?.detail).toBe('this replica is about to end')
})

test('rows that came just before an error are shown', async () => {
  serve({ text: row(7, 'c7') + sse('error', { detail: 'the log was replaced', reconnect: false }), then: 'stay' })
  const view = await until(begin(), ({ phase }) => phase === 'failed')
  expect(offsets(view)).toEqual([7])
  expect(view.problem?.detail).toBe('the log was replaced')
})

test('what was asked wrongly is not asked again', async () => {
  const asked = serve({ status: 400, problem: { title: 'Bad request', detail: 'a quote is not closed', position: 4 } })
  const view = await until(begin('"'), ({ phase }) => phase === 'failed')
  expect(view.problem).toMatchObject({ status: 400, position: 4, detail: 'a quote is not closed' })
  expect(asked).toHaveLength(1)
})

test('a server that is too busy is asked again', async () => {
  serve({ status: 429, problem: { title: 'Too many' } }, { text: row(1, 'c1'), then: 'stay' })
  expect(offsets(await until(begin(), ({ phase }) => phase === 'live'))).toEqual([1])
})

test('a connection that is silent for long counts as broken', async () => {
  vi.useFakeTimers()
  serve({ text: sse('progress', progress(), 'c0'), then: 'stay' })
  const session = begin()
  await vi.advanceTimersByTimeAsync(9_000)
  expect(session.read().phase).toBe('live')
  await vi.advanceTimersByTimeAsync(2_000)
  expect(session.read().phase).toBe('reconnecting')
})

test('held rows wait; stopping keeps them, and starting goes on behind them', async () => {
  const asked = serve({ text: row(1, 'c1'), then: 'stay' }, { text: row(2, 'c2'), then: 'stay' })
  const session = begin()
  session.hold(true)
  await until(session, ({ waiting }) => waiting === 1)
  expect(session.read().rows).toEqual([])
  session.stop()
  expect(session.read().phase).toBe('stopped')
  session.start()
  session.hold(false)
  expect(offsets(await until(session, ({ rows }) => rows.length === 2))).toEqual([1, 2])
  expect(asked[1]).toContain('cursor=c1')
})
