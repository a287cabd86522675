// From buckets to bars: one height a level and bucket, with the empty buckets that the interface does not list.
import type { Bucket } from '../../api/types'
import { TONE_ORDER, toneOf, type LevelTone } from '../../ui/levels'

export interface Stack {
  /** Where each bar begins, in seconds. */
  starts: number[]
  /** From the bottom of a bar to its top. */
  layers: { tone: LevelTone; counts: number[] }[]
  totals: number[]
}

export interface LevelTotal {
  /** Null: events without a level; `other`: those beyond the most frequent levels. */
  level: string | null
  other: boolean
  tone: LevelTone
  count: number
}

/** More bars than pixels help nobody; then only those that hold something are made. */
const MAX_BARS = 2_000

export function stack(buckets: readonly Bucket[], intervalS: number, boundsS: readonly [number, number] | null): Stack {
  const perStart = new Map<number, Map<LevelTone, number>>()
  for (const bucket of buckets) {
    if (bucket.start === null) continue
    const start = Date.parse(bucket.start) / 1_000
    const tones = perStart.get(start) ?? new Map<LevelTone, number>()
    const tone = bucket.other ? 'none' : toneOf(bucket.by.level ?? null)
    tones.set(tone, (tones.get(tone) ?? 0) + bucket.count)
    perStart.set(start, tones)
  }
  const starts = barStarts([...perStart.keys()], intervalS, boundsS)
  const used = TONE_ORDER.filter((tone) => [...perStart.values()].some((tones) => tones.has(tone)))
  const layers = used.map((tone) => ({ tone, counts: starts.map((start) => perStart.get(start)?.get(tone) ?? 0) }))
  const totals = starts.map((_, at) => layers.reduce((sum, layer) => sum + (layer.counts[at] ?? 0), 0))
  return { starts, layers, totals }
}

function barStarts(found: number[], intervalS: number, boundsS: readonly [number, number] | null): number[] {
  found.sort((one, other) => one - other)
  const first = found[0]
  const last = found.at(-1)
  if (first === undefined || last === undefined) return []
  // Buckets lie on multiples of the interval, counted from any of them.
  const from = boundsS === null ? first : first - Math.max(0, Math.ceil((first - boundsS[0]) / intervalS)) * intervalS
  const to = boundsS === null ? last : Math.max(last, boundsS[1] - 1e-6)
  const bars = Math.floor((to - from) / intervalS) + 1
  if (bars > MAX_BARS) return found
  return Array.from({ length: bars }, (_, at) => from + at * intervalS)
}

/** Counts by level over all buckets, the most severe first. */
export function levelTotals(buckets: readonly Bucket[]): LevelTotal[] {
  const totals = new Map<string, LevelTotal>()
  for (const bucket of buckets) {
    const level = bucket.by.level ?? null
    const other = bucket.other ?? false
    const key = other ? 'other' : `level ${level ?? ''}`
    const total = totals.get(key) ?? { level, other, tone: other ? 'none' : toneOf(level), count: 0 }
    total.count += bucket.count
    totals.set(key, total)
  }
  const severity = (total: LevelTotal) => TONE_ORDER.indexOf(total.tone)
  return [...totals.values()].sort((one, other) => severity(other) - severity(one) || other.count - one.count)
}

/** How high each layer ends: its own counts and all below. */
export function sumsOf({ layers }: Stack): number[][] {
  const sums: number[][] = []
  for (const { counts } of layers) {
    const below = sums.at(-1)
    sums.push(counts.map((count, bar) => count + (below?.[bar] ?? 0)))
  }
  return sums
}
