import { describe, expect, it } from 'vitest'

import {
  describeRange,
  formatFullTime,
  formatRowTime,
  fromInput,
  nextMicrosecond,
  rangeMs,
  shiftRange,
  timeMs,
  toInput,
} from './time'

const NOW = Date.parse('2026-11-24T12:00:00Z')

describe('timeMs', () => {
  it.each<[string, string | null]>([
    ['now', '2026-11-24T12:00:00Z'],
    ['-15m', '2026-11-24T11:45:00Z'],
    ['-2w', '2026-11-10T12:00:00Z'],
    ['+1h', '2026-11-24T13:00:00Z'],
    ['2026-11-24T10:00:00+02:00', '2026-11-24T08:00:00Z'],
    ['2026-11-24 10:00:00', '2026-11-24T10:00:00Z'], // as the server reads it: UTC
    ['2026-11-24T10:00', '2026-11-24T10:00:00Z'],
    ['2026-11-24', '2026-11-24T00:00:00Z'],
    ['today', '2026-11-24T00:00:00Z'],
    ['yesterday', '2026-11-23T00:00:00Z'],
    ['-1h30m', '2026-11-24T10:30:00Z'],
    ['-1.5h', '2026-11-24T10:30:00Z'],
    ['now-1h', '2026-11-24T11:00:00Z'],
    ['last week', null],
    ['-', null],
    ['-1y', null],
  ])('reads %s', (text, expected) => {
    expect(timeMs(text, NOW)).toBe(expected === null ? null : Date.parse(expected))
  })
})

it('gives no bounds to a range that ends before it begins', () => {
  expect(rangeMs({ start: '-1h', end: '-2h' }, NOW)).toBeNull()
  expect(rangeMs({ start: '-1h', end: null }, NOW)).toEqual([NOW - 3_600_000, NOW])
})

it('moves a range by its own length', () => {
  expect(shiftRange({ start: '-1h', end: null }, -1, NOW)).toEqual({
    start: '2026-11-24T10:00:00.000Z',
    end: '2026-11-24T11:00:00.000Z',
  })
})

it('shows a timestamp with its own digits', () => {
  expect(formatRowTime('2026-11-24T10:22:33.123456Z', 'utc')).toBe('11-24 10:22:33.123')
  expect(formatFullTime('2026-11-24T10:22:33.123456Z', 'utc')).toBe('2026-11-24 10:22:33.123456 UTC')
  expect(formatFullTime('2026-11-24T10:22:33Z', 'utc')).toBe('2026-11-24 10:22:33.000000 UTC')
})

it.each(['utc', 'local'] as const)('reads what its picker shows, in %s', (zone) => {
  expect(fromInput(toInput(NOW, zone), zone)).toBe(NOW)
  expect(fromInput('', zone)).toBeNull()
})

it.each([
  [{ start: '-1h', end: null }, 'Last hour'],
  [{ start: '-30m', end: null }, 'Last 30 minutes'],
  [{ start: '-1h30m', end: null }, 'Last 1h30m'],
  [{ start: 'today', end: null }, 'Since today'],
  [{ start: 'now-2h', end: null }, 'Since now-2h'],
  [{ start: '-2h', end: '-1h' }, '-2h – -1h'],
  [{ start: '2026-11-24T10:00:00Z', end: null }, 'Since 2026-11-24 10:00:00'],
  [{ start: '2026-11-24T10:00:00Z', end: '2026-11-24T11:30:00Z' }, '2026-11-24 10:00:00 – 11:30:00'],
])('describes a range', (range, text) => {
  expect(describeRange(range, 'utc')).toBe(text)
})

it.each([
  ['2026-11-24T10:22:33.123456Z', '2026-11-24T10:22:33.123457Z'],
  ['2026-11-24T10:22:33.999999Z', '2026-11-24T10:22:34.000000Z'],
  ['2026-12-31T23:59:59.999999Z', '2027-01-01T00:00:00.000000Z'],
])('%s is followed by %s', (timestamp, next) => {
  expect(nextMicrosecond(timestamp)).toBe(next)
})
