import { expect, test } from 'vitest'

import { anEvent } from '../../samples'
import { TailBuffer } from './buffer'

const events = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => anEvent({ offset: from + at }))
const offsets = (rows: readonly { offset: number }[]) => rows.map((row) => row.offset)

test('the newest rows are kept, and those let go are counted', () => {
  const buffer = new TailBuffer(3)
  buffer.add(events(0, 2), false)
  buffer.add(events(2, 5), false)
  expect(offsets(buffer.shown)).toEqual([2, 3, 4])
  expect(buffer.letGo).toBe(2)
})

test('held rows wait, and leave the screen as it is', () => {
  const buffer = new TailBuffer(3)
  buffer.add(events(0, 2), false)
  const before = buffer.shown
  buffer.add(events(2, 4), true)
  expect(buffer.shown).toBe(before)
  expect(offsets(buffer.waiting)).toEqual([2, 3])
  buffer.release()
  expect(offsets(buffer.shown)).toEqual([1, 2, 3])
  expect(buffer.waiting).toEqual([])
  expect(buffer.letGo).toBe(1)
})

test('what waits is bounded too, and nothing is left between old and new rows', () => {
  const buffer = new TailBuffer(3)
  buffer.add(events(0, 3), false)
  buffer.add(events(3, 8), true)
  expect(offsets(buffer.waiting)).toEqual([5, 6, 7])
  buffer.release()
  expect(offsets(buffer.shown)).toEqual([5, 6, 7])
  expect(buffer.letGo).toBe(5)
})
