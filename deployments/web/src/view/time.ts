// Times as people read and type them. Inside all times are milliseconds since the epoch, or texts as the interface takes
// them; the microseconds of a timestamp are kept as text.
import type { Zone } from './view'

const UNIT_MS: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}
const DAY_MS = 86_400_000
const PART = /(\d{1,12}(?:\.\d{1,9})?)(ms|[smhdw])/g
const LENGTH = /^(?:\d{1,12}(?:\.\d{1,9})?(?:ms|[smhdw]))+$/
const RELATIVE = /^(?:now\s*([+-])\s*|([+-]))(.+)$/
/** A length of one unit, which has a name. */
const ONE_UNIT = /^-(\d{1,12})([smhdw])$/
const DAYS: Record<string, number> = { yesterday: -1, today: 0, tomorrow: 1 }
const UNIT_NAMES: Record<string, string> = { s: 'second', m: 'minute', h: 'hour', d: 'day', w: 'week' }

export interface Preset {
  start: string
  label: string
  short: string
}

export const PRESETS: readonly Preset[] = [
  { start: '-5m', label: 'Last 5 minutes', short: '5 m' },
  { start: '-30m', label: 'Last 30 minutes', short: '30 m' },
  { start: '-1h', label: 'Last hour', short: '1 h' },
  { start: '-12h', label: 'Last 12 hours', short: '12 h' },
  { start: '-1d', label: 'Last day', short: '1 d' },
  { start: '-3d', label: 'Last 3 days', short: '3 d' },
  { start: '-7d', label: 'Last 7 days', short: '7 d' },
]

export interface Range {
  start: string
  end: string | null
}

/** Give a bound in milliseconds; null when it is none that we understand (the server may). */
export function timeMs(text: string, nowMs: number): number | null {
  if (text === 'now') return nowMs
  const day = DAYS[text]
  if (day !== undefined) return (Math.floor(nowMs / DAY_MS) + day) * DAY_MS // UTC, as the server has it
  const relative = RELATIVE.exec(text)
  const length = relative ? lengthMs(relative[3] ?? '') : null
  if (relative && length !== null) return (relative[1] ?? relative[2]) === '-' ? nowMs - length : nowMs + length
  if (/^\d{4}-\d\d-\d\d/.test(text)) {
    // Without an offset the interface means UTC, and the browser would mean local time.
    const ms = Date.parse(/(?:Z|T.*[+-]\d\d:?\d\d)$|^.{10}$/i.test(text) ? text : `${text.replace(' ', 'T')}Z`)
    return Number.isNaN(ms) ? null : ms
  }
  return null
}

/** Read `45m`, `1h30m`, `1.5h`; null when it is no length. */
export function lengthMs(text: string): number | null {
  if (!LENGTH.test(text)) return null
  return [...text.matchAll(PART)].reduce((sum, [, count, unit]) => sum + Number(count) * (UNIT_MS[unit ?? ''] ?? 0), 0)
}

/** Give both bounds of a range in milliseconds; null where they cannot be told. */
export function rangeMs(range: Range, nowMs: number): [number, number] | null {
  const start = timeMs(range.start, nowMs)
  const end = range.end === null ? nowMs : timeMs(range.end, nowMs)
  return start === null || end === null || end <= start ? null : [start, end]
}

export function isRelative(text: string): boolean {
  return lengthMs(RELATIVE.exec(text)?.[3] ?? '') !== null
}

const two = (number: number) => String(number).padStart(2, '0')

interface Parts {
  date: string
  time: string
}

function partsOf(ms: number, zone: Zone): Parts {
  const at = new Date(ms)
  return zone === 'utc'
    ? {
        date: `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`,
        time: `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`,
      }
    : {
        date: `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`,
        time: `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`,
      }
}

/** `2026-11-24 10:22:33`, in the zone that is shown. */
export function formatMs(ms: number, zone: Zone): string {
  const { date, time } = partsOf(ms, zone)
  return `${date} ${time}`
}

/** A stored timestamp for a row: `11-24 10:22:33.123`. */
export function formatRowTime(timestamp: string, zone: Zone): string {
  const ms = Date.parse(timestamp)
  if (Number.isNaN(ms)) return timestamp
  const { date, time } = partsOf(ms, zone)
  return `${date.slice(5)} ${time}.${(fractionOf(timestamp) + '000').slice(0, 3)}`
}

/** A stored timestamp in full, with microseconds and zone. */
export function formatFullTime(timestamp: string, zone: Zone): string {
  const ms = Date.parse(timestamp)
  if (Number.isNaN(ms)) return timestamp
  const { date, time } = partsOf(ms, zone)
  const offset = zone === 'utc' ? 'UTC' : offsetName(ms)
  return `${date} ${time}.${(fractionOf(timestamp) + '000000').slice(0, 6)} ${offset}`
}

function fractionOf(timestamp: string): string {
  return /\.(\d+)/.exec(timestamp)?.[1] ?? ''
}

function offsetName(ms: number): string {
  const minutes = -new Date(ms).getTimezoneOffset()
  const size = Math.abs(minutes)
  return `UTC${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`
}

/** For `<input type="datetime-local">`. */
export function toInput(ms: number, zone: Zone): string {
  const { date, time } = partsOf(ms, zone)
  return `${date}T${time}`
}

/** From `<input type="datetime-local">`; null when nothing whole was typed. */
export function fromInput(text: string, zone: Zone): number | null {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text)) return null
  const ms = Date.parse(zone === 'utc' ? `${text}Z` : text)
  return Number.isNaN(ms) ? null : ms
}

/** What the button of the time range says. */
export function describeRange({ start, end }: Range, zone: Zone): string {
  if (end === null) {
    const length = ONE_UNIT.exec(start)
    if (length) {
      const count = Number(length[1])
      const unit = UNIT_NAMES[length[2] ?? ''] ?? ''
      return count === 1 ? `Last ${unit}` : `Last ${count} ${unit}s`
    }
    if (start.startsWith('-') && isRelative(start)) return `Last ${start.slice(1)}`
    return `Since ${describeBound(start, zone)}`
  }
  const from = describeBound(start, zone)
  const to = describeBound(end, zone)
  const sameDay = /^\d{4}-/.test(from) && from.slice(0, 10) === to.slice(0, 10)
  return `${from} – ${sameDay ? to.slice(11) : to}`
}

function describeBound(text: string, zone: Zone): string {
  if (isRelative(text) || text in DAYS) return text
  const ms = timeMs(text, 0)
  return ms === null ? text : formatMs(ms, zone)
}

/** RFC 3339 in UTC, whole milliseconds. */
export function toRfc3339(ms: number): string {
  return new Date(ms).toISOString()
}

/** The same length of time, one step earlier (-1) or later (+1); null where the bounds cannot be told. */
export function shiftRange(range: Range, steps: -1 | 1, nowMs: number): Range | null {
  const bounds = rangeMs(range, nowMs)
  if (bounds === null) return null
  const length = bounds[1] - bounds[0]
  return { start: toRfc3339(bounds[0] + steps * length), end: toRfc3339(bounds[1] + steps * length) }
}

/** The next time that a stored timestamp can have: a microsecond later. */
export function nextMicrosecond(timestamp: string): string {
  const micros = Number((fractionOf(timestamp) + '000000').slice(0, 6)) + 1
  const second = Math.floor(Date.parse(timestamp) / 1_000) * 1_000
  const whole = new Date(micros === 1_000_000 ? second + 1_000 : second).toISOString().slice(0, 19)
  return `${whole}.${String(micros % 1_000_000).padStart(6, '0')}Z`
}
