import { describe, expect, it } from 'vitest'

import { FIRST_PAGE_ROWS, follow } from './follow'
import { Problem } from './http'
import { eventOf, eventStream, json, sent, serve, stateOf } from './server'
import type { AnswerState, Begun, LogEvent } from './types'

const STREAM = 'GET /search/v1/queries/q1/stream'
const PAGE = 'GET /search/v1/queries/q1?'
const BEGUN: Begun = { id: 'q1', state: 'running' }

/** Follow q1, and tell what came in which order: `r3` for a row, the state's name for a state. */
async function followed(signal = new AbortController().signal, begun: Begun = BEGUN): Promise<string[]> {
  const told: string[] = []
  await follow(
    begun,
    {
      onRows: (rows: LogEvent[]) => told.push(...rows.map((row) => `r${row.row}`)),
      onState: (state: AnswerState) => told.push(state.state),
    },
    signal,
  )
  return told
}

const running = sent('progress', stateOf({ state: 'running' }))
const row = (number: number) => sent('event', eventOf(number), `r${number + 1}`)

describe('follow', () => {
  it('takes rows and states in their order, however the network cuts them', async () => {
    const text = row(0) + row(1) + running + row(2) + sent('done', stateOf())
    for (const size of [1, 7, 100, text.length]) {
      const chunks = text.match(new RegExp(`[\\s\\S]{1,${size}}`, 'g')) ?? []
      serve({ [STREAM]: () => eventStream(...chunks) })
      expect(await followed()).toEqual(['r0', 'r1', 'running', 'r2', 'done'])
    }
  })

  it('asks no more where the first answer has everything', async () => {
    const asked = serve({})
    const all = { ...stateOf({ id: 'q1' }), events: [eventOf(0), eventOf(1)], cursor: 'r2' }
    expect(await followed(undefined, all)).toEqual(['r0', 'r1', 'done'])
    expect(asked).toEqual([])
  })

  it('goes on behind the first answer where there is more', async () => {
    const full = Array.from({ length: FIRST_PAGE_ROWS }, (_, at) => eventOf(at))
    for (const first of [
      { ...stateOf({ id: 'q1', state: 'running' }), events: [eventOf(0)], cursor: 'r1' },
      { ...stateOf({ id: 'q1' }), events: full, cursor: `r${FIRST_PAGE_ROWS}` },
    ]) {
      const asked = serve({ [STREAM]: () => eventStream(row(7), sent('done', stateOf())) })
      const told = await followed(undefined, first)
      expect(told.slice(first.events.length)).toEqual([first.state, 'r7', 'done'])
      expect(asked.map(({ path }) => path)).toEqual([`/search/v1/queries/q1/stream?cursor=${first.cursor}`])
    }
  })

  it('keeps characters whole that the network cuts', async () => {
    const bytes = new TextEncoder().encode(
      sent('event', eventOf(0, { message: 'ü💥' }), 'r1') + sent('done', stateOf()),
    )
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        bytes.forEach((byte) => controller.enqueue(Uint8Array.of(byte)))
        controller.close()
      },
    })
    serve({ [STREAM]: () => new Response(body) })
    const messages: string[] = []
    await follow(
      BEGUN,
      { onRows: (rows) => messages.push(...rows.map((one) => one.message)), onState: () => undefined },
      new AbortController().signal,
    )
    expect(messages).toEqual(['ü💥'])
  })

  it('polls on from where a stream stopped', async () => {
    const pages = [
      { ...stateOf({ state: 'running' }), events: [eventOf(1)], cursor: 'r2' },
      { ...stateOf(), events: [eventOf(2)], cursor: 'r3' },
    ]
    const asked = serve({ [STREAM]: () => eventStream(row(0)), [PAGE]: () => json(pages.shift()) })
    expect(await followed()).toEqual(['r0', 'r1', 'running', 'r2', 'done'])
    expect(asked.map(({ path }) => /cursor=(\w+)/.exec(path)?.[1])).toEqual([undefined, 'r1', 'r2'])
  })

  it('polls on where the server says that somebody else goes on', async () => {
    const leaving = sent('error', { detail: 'this replica is about to end', reconnect: true, cursor: 'r2' })
    const asked = serve({
      [STREAM]: () => eventStream(row(0) + running + row(1) + leaving),
      [PAGE]: () => json({ ...stateOf(), events: [eventOf(2)], cursor: 'r3' }),
    })
    expect(await followed()).toEqual(['r0', 'running', 'r1', 'r2', 'done'])
    expect(asked[1]?.path).toContain('cursor=r2')
  })

  it('polls where streams do not get through, and through failures that pass', async () => {
    const pages = [
      json({ title: 'Unavailable', detail: 'later' }, 503),
      json({ ...stateOf(), events: [eventOf(0)], cursor: 'r1' }),
    ]
    serve({ [STREAM]: () => json({ title: 'Bad gateway' }, 502), [PAGE]: () => pages.shift() ?? json({}, 500) })
    expect(await followed()).toEqual(['r0', 'done'])
  })

  it('tells what will not get better by asking again', async () => {
    serve({ [STREAM]: () => json({ title: 'Not found', detail: 'no such query' }, 404) })
    await expect(followed()).rejects.toEqual(expect.objectContaining({ status: 404, detail: 'no such query' }))
    for (const final of [{ detail: 'it expired' }, { detail: 'it expired', reconnect: false }]) {
      serve({ [STREAM]: () => eventStream(sent('error', final)) })
      await expect(followed()).rejects.toBeInstanceOf(Problem)
    }
    const revoked = { detail: 'this system wants a key', reconnect: false, status: 401 }
    serve({ [STREAM]: () => eventStream(sent('error', revoked)) })
    await expect(followed()).rejects.toMatchObject({ status: 401 })
  })

  it('ends when it is told to', async () => {
    const ending = new AbortController()
    serve({
      [STREAM]: (_, signal) =>
        new Promise((_, reject) => {
          signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')))
        }),
    })
    const done = followed(ending.signal)
    ending.abort()
    await expect(done).rejects.toMatchObject({ name: 'AbortError' })
  })
})
