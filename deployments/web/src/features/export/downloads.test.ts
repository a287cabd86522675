import { expect, it, vi } from 'vitest'

import { setKey } from '../../api/key'
import { json, scripted, serve, type Asked } from '../../api/server'
import { Downloads } from './downloads'
import { memorySink, type Sink } from './sink'

/** Keeps what is written, and says how it ended. */
class Kept implements Sink {
  text = ''
  ended: 'open' | 'closed' | 'aborted' = 'open'
  readonly write = (chunk: Uint8Array) => {
    this.text += new TextDecoder().decode(chunk)
    return Promise.resolve()
  }
  readonly close = () => {
    this.ended = 'closed'
    return Promise.resolve()
  }
  readonly abort = () => {
    this.ended = 'aborted'
    return Promise.resolve()
  }
}

function exporting(chunks: string[], then: 'end' | 'cut' | 'stay' = 'end'): Asked[] {
  return serve({ 'GET /search/v1/queries/': (_, signal) => scripted(chunks, then, signal) })
}

it('an answer is written as it comes, with the key in its header', async () => {
  const asked = exporting(['{"a":1}\n', '{"a":2}\n'])
  setKey('secret')
  const sink = new Kept()
  const downloads = new Downloads(() => Promise.resolve(sink))
  await downloads.start('q 1', 'ndjson')
  setKey(null)
  expect(sink).toMatchObject({ text: '{"a":1}\n{"a":2}\n', ended: 'closed' })
  expect(downloads.read()).toMatchObject([{ state: 'done', bytes: 16, name: 'ess-q 1.ndjson' }])
  expect(asked[0]?.path).toBe('/search/v1/queries/q%201/export?format=ndjson')
  expect(asked[0]?.headers.get('Authorization')).toBe('Bearer secret')
})

it('one that breaks off has failed, and leaves nothing that looks whole', async () => {
  exporting(['half'], 'cut')
  const sink = new Kept()
  const downloads = new Downloads(() => Promise.resolve(sink))
  await downloads.start('q', 'csv')
  expect(sink.ended).toBe('aborted')
  expect(downloads.read()).toMatchObject([{ state: 'failed' }])
  expect(downloads.read()[0]?.why).toContain('broken off')
})

it('a refusal is told in the words of the server', async () => {
  serve({
    'GET /search/v1/queries/': () => json({ title: 'Busy', detail: 'too many exports are under way' }, 429),
  })
  const sink = new Kept()
  const downloads = new Downloads(() => Promise.resolve(sink))
  await downloads.start('q', 'parquet')
  expect(sink.ended).toBe('aborted')
  expect(downloads.read()).toMatchObject([{ state: 'failed', why: 'too many exports are under way' }])
})

it('one can be cancelled, and then be taken off the list', async () => {
  exporting(['some'], 'stay')
  const sink = new Kept()
  const downloads = new Downloads(() => Promise.resolve(sink))
  const ended = downloads.start('q', 'csv')
  await vi.waitFor(() => expect(sink.text).toBe('some'))
  downloads.cancel(1)
  await ended
  expect(sink.ended).toBe('aborted')
  expect(downloads.read()).toMatchObject([{ state: 'cancelled' }])
  downloads.dismiss(1)
  expect(downloads.read()).toEqual([])
})

it('who chooses no file has started nothing', async () => {
  const asked = exporting([])
  const downloads = new Downloads(() => Promise.reject(new DOMException('no', 'AbortError')))
  await downloads.start('q', 'csv')
  expect(downloads.read()).toEqual([])
  expect(asked).toEqual([])
})

it('what memory cannot hold fails, and says what to do', async () => {
  exporting(['1234', '5678'])
  const downloads = new Downloads((name) => Promise.resolve(memorySink(name, 6)))
  await downloads.start('q', 'csv')
  expect(downloads.read()).toMatchObject([{ state: 'failed' }])
  expect(downloads.read()[0]?.why).toContain('Narrow the search')
})
