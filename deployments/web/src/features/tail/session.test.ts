import { afterEach, expect, it, vi } from 'vitest'

import { eventOf, json, scripted, sent, serve, type Asked } from '../../api/server'
import { TailSession, type TailView } from './session'

/** What one connection brings. */
type Script = { text: string; then: 'end' | 'cut' | 'stay' } | { status: number; problem: object }

const sessions: TailSession[] = []
afterEach(() => {
  sessions.splice(0).forEach((session) => session.close())
  vi.useRealTimers()
})

/** Answer each connection with the next script; gives the addresses that were asked for. */
function connections(...scripts: Script[]): Asked[] {
  return serve({
    'GET /search/v1/tail': (_, signal) => {
      const script = scripts.shift()
      if (script === undefined) return new Promise(() => undefined)
      return 'status' in script ? json(script.problem, script.status) : scripted([script.text], script.then, signal)
    },
  })
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

const row = (place: number, id?: string) => sent('event', eventOf(place), id)
const places = (view: TailView) => view.rows.map(({ row }) => row)
const paths = (asked: Asked[]) => asked.map(({ path }) => path)

it('rows and figures come as they are told', async () => {
  const asked = connections({
    text:
      sent('progress', progress(), 'c0') +
      row(1) +
      row(2, 'c1') +
      sent('progress', progress({ matched: 5, skipped: 3 })),
    then: 'stay',
  })
  const view = await until(
    begin('level:ERROR'),
    ({ phase, progress: { matched } }) => phase === 'live' && matched === 5,
  )
  expect(places(view)).toEqual([1, 2])
  expect(view.progress.skipped).toBe(3)
  expect(paths(asked)).toEqual(['/search/v1/tail?query=level%3AERROR'])
})

it('a broken connection goes on behind the last cursor, and rows that come again are shown once', async () => {
  const asked = connections(
    { text: sent('progress', progress({ matched: 1, shown: 1 }), 'c0') + row(1, 'c1') + row(2), then: 'cut' },
    { text: row(2), then: 'end' },
    { text: row(2) + row(3, 'c3') + sent('progress', progress({ matched: 2, shown: 2 }), 'c3'), then: 'stay' },
  )
  const view = await until(begin(), ({ rows, phase }) => rows.length === 3 && phase === 'live')
  expect(places(view)).toEqual([1, 2, 3])
  // One that was told, the row behind it, and two of the last connection.
  expect(view.progress.matched).toBe(4)
  expect(paths(asked).slice(1)).toEqual(['/search/v1/tail?query=&cursor=c1', '/search/v1/tail?query=&cursor=c1'])
})

it('a server that is about to end is connected to again, and says why', async () => {
  connections({ text: sent('error', { detail: 'this replica is about to end', reconnect: true }), then: 'stay' })
  const view = await until(begin(), ({ phase }) => phase === 'reconnecting')
  expect(view.problem?.detail).toBe('this replica is about to end')
})

it('rows that came just before an error are shown', async () => {
  connections({
    text: row(7, 'c7') + sent('error', { detail: 'the log was replaced', reconnect: false }),
    then: 'stay',
  })
  const view = await until(begin(), ({ phase }) => phase === 'failed')
  expect(places(view)).toEqual([7])
  expect(view.problem?.detail).toBe('the log was replaced')
})

it('what was asked wrongly is not asked again', async () => {
  const asked = connections({
    status: 400,
    problem: { title: 'Bad request', detail: 'a quote is not closed', position: 4 },
  })
  const view = await until(begin('"'), ({ phase }) => phase === 'failed')
  expect(view.problem).toMatchObject({ status: 400, position: 4, detail: 'a quote is not closed' })
  expect(asked).toHaveLength(1)
})

it('a server that is too busy is asked again', async () => {
  connections({ status: 429, problem: { title: 'Too many' } }, { text: row(1, 'c1'), then: 'stay' })
  expect(places(await until(begin(), ({ phase }) => phase === 'live'))).toEqual([1])
})

it('a connection that is silent for long counts as broken', async () => {
  vi.useFakeTimers()
  connections({ text: sent('progress', progress(), 'c0'), then: 'stay' })
  const session = begin()
  await vi.advanceTimersByTimeAsync(9_000)
  expect(session.read().phase).toBe('live')
  await vi.advanceTimersByTimeAsync(2_000)
  expect(session.read().phase).toBe('reconnecting')
})

it('held rows wait; stopping keeps them, and starting goes on behind them', async () => {
  const asked = connections({ text: row(1, 'c1'), then: 'stay' }, { text: row(2, 'c2'), then: 'stay' })
  const session = begin()
  session.hold(true)
  await until(session, ({ waiting }) => waiting === 1)
  expect(session.read().rows).toEqual([])
  session.stop()
  expect(session.read().phase).toBe('stopped')
  session.start()
  session.hold(false)
  expect(places(await until(session, ({ rows }) => rows.length === 2))).toEqual([1, 2])
  expect(asked[1]?.path).toContain('cursor=c1')
})
