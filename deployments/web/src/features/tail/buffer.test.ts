import { expect, it } from 'vitest'

import { eventOf } from '../../api/server'
import { TailBuffer } from './buffer'

const events = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => eventOf(from + at))
const places = (rows: readonly { row: number }[]) => rows.map(({ row }) => row)

it('the newest rows are kept, and those let go are counted', () => {
  const buffer = new TailBuffer(3)
  buffer.add(events(0, 2), false)
  buffer.add(events(2, 5), false)
  expect(places(buffer.shown)).toEqual([2, 3, 4])
  expect(buffer.letGo).toBe(2)
})

it('held rows wait, and leave the screen as it is', () => {
  const buffer = new TailBuffer(3)
  buffer.add(events(0, 2), false)
  const before = buffer.shown
  buffer.add(events(2, 4), true)
  expect(buffer.shown).toBe(before)
  expect(places(buffer.waiting)).toEqual([2, 3])
  buffer.release()
  expect(places(buffer.shown)).toEqual([1, 2, 3])
  expect(buffer.waiting).toEqual([])
  expect(buffer.letGo).toBe(1)
})

it('what waits is bounded too, and nothing is left between old and new rows', () => {
  const buffer = new TailBuffer(3)
  buffer.add(events(0, 3), false)
  buffer.add(events(3, 8), true)
  expect(places(buffer.waiting)).toEqual([5, 6, 7])
  buffer.release()
  expect(places(buffer.shown)).toEqual([5, 6, 7])
  expect(buffer.letGo).toBe(5)
})
