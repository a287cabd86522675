import { describe, expect, it } from 'vitest'

import type { Bucket } from '../../api/types'
import { levelTotals, stack, sumsOf } from './stack'

const T0 = Date.parse('2026-11-24T10:00:00Z') / 1_000

function bucket(minute: number, level: string | null, count: number, other = false): Bucket {
  const start = new Date((T0 + minute * 60) * 1_000).toISOString()
  return { start, by: { level }, count, ...(other ? { other } : {}) }
}

const BUCKETS = [bucket(1, 'INFO', 5), bucket(1, 'ERROR', 2), bucket(3, 'INFO', 1), bucket(3, null, 4, true)]

describe('stack', () => {
  it('fills the minutes without events, and stands on the range', () => {
    const { starts, layers, totals } = stack(BUCKETS, 60, [T0, T0 + 300])
    expect(starts).toEqual([0, 1, 2, 3, 4].map((minute) => T0 + minute * 60))
    expect(layers).toEqual([
      { tone: 'none', counts: [0, 0, 0, 4, 0] },
      { tone: 'info', counts: [0, 5, 0, 1, 0] },
      { tone: 'error', counts: [0, 2, 0, 0, 0] },
    ])
    expect(totals).toEqual([0, 7, 0, 5, 0])
  })

  it('begins in the bucket that the range begins in', () => {
    expect(stack(BUCKETS, 60, [T0 + 30, T0 + 240]).starts[0]).toBe(T0)
  })

  it('is empty without buckets, and lists only what is there when there would be too many', () => {
    expect(stack([], 60, [T0, T0 + 300]).starts).toEqual([])
    expect(stack(BUCKETS, 0.01, [T0, T0 + 300]).starts).toEqual([T0 + 60, T0 + 180])
  })

  it('sums up from the bottom', () => {
    expect(sumsOf(stack(BUCKETS, 60, [T0 + 60, T0 + 120]))).toEqual([
      [0, 0, 4],
      [5, 0, 5],
      [7, 0, 5],
    ])
  })
})

it('adds up levels, the most severe first', () => {
  const totals = levelTotals([...BUCKETS, bucket(4, null, 1)])
  expect(totals.map(({ level, other, count }) => [level, other, count])).toEqual([
    ['ERROR', false, 2],
    ['INFO', false, 6],
    [null, true, 4],
    [null, false, 1],
  ])
})
