// How many events, when, and how severe. Dragging over it zooms; the levels below it narrow the query.
import 'uplot/dist/uPlot.min.css'

import { useEffect, useMemo, useRef, useState } from 'react'

import { isRefused } from '../../api/http'
import { addTerm, fieldTerm } from '../../query/terms'
import { Button } from '../../ui/Button'
import { classes } from '../../ui/classes'
import { formatCount } from '../../ui/format'
import { Notice } from '../../ui/Notice'
import { THEME_CHANGED } from '../../ui/theme'
import { formatMs, rangeMs, toRfc3339 } from '../../view/time'
import type { View, Zone } from '../../view/view'
import { dataOf, draw } from './chart'
import styles from './Histogram.module.css'
import { levelTotals, stack, type LevelTotal, type Stack } from './stack'
import { useHistogram, type HistogramView } from './useHistogram'

const HEIGHT_PX = 96

interface HistogramProps {
  view: View
  round: number
  /** Counting may begin. */
  mayRun: boolean
  onChange: (part: Partial<View>) => void
}

export function Histogram({ view, round, mayRun, onChange }: HistogramProps) {
  const counts = useHistogram(view, round, mayRun)
  const buckets = counts.state?.buckets
  const intervalS = counts.state?.interval_s ?? null
  const bounds = useMemo(
    () => boundsOf(view, counts.askedMs, counts.state?.buckets),
    [view, counts.askedMs, counts.state],
  )
  const bars = useMemo(
    () => (buckets && intervalS !== null && bounds ? stack(buckets, intervalS, bounds) : null),
    [buckets, intervalS, bounds],
  )
  const levels = useMemo(() => levelTotals(buckets ?? []), [buckets])
  const [hovered, setHovered] = useState<number | null>(null)
  const total = levels.reduce((sum, level) => sum + level.count, 0)
  return (
    <section className={styles.histogram} aria-label="Events over time">
      {counts.problem && counts.problem.status !== 400 && !isRefused(counts.problem) && (
        <Notice kind="warn">The counts over time are not there: {counts.problem.message}</Notice>
      )}
      <div
        className={classes(styles.place, counts.running && styles.running, counts.problem && styles.failed)}
        role="img"
        aria-label={`${events(total)}: ${levels.map(describe).join(', ') || 'none yet'}`}
      >
        {bars && bars.starts.length > 0 && bounds && (
          <Chart
            bars={bars}
            bounds={bounds}
            zone={view.zone}
            onHover={setHovered}
            onZoom={(fromS, toS) => onChange({ start: toRfc3339(fromS * 1e3), end: toRfc3339(toS * 1e3) })}
          />
        )}
      </div>
      <div className={styles.legend}>
        <span className={styles.readout}>{readout(counts, total, bars, hovered, intervalS, view)}</span>
        {levels.map((level) => (
          <LevelButton
            key={`${level.level ?? ''} ${level.other ? 'other' : ''}`}
            level={level}
            onChoose={(term) => onChange({ query: addTerm(view.query, term) })}
          />
        ))}
      </div>
    </section>
  )
}

function nameOf(level: LevelTotal): string {
  return level.other ? 'other levels' : (level.level ?? 'no level')
}

function describe(level: LevelTotal): string {
  return `${nameOf(level)} ${formatCount(level.count)}`
}

function LevelButton({ level, onChoose }: { level: LevelTotal; onChoose: (term: string) => void }) {
  const text = (
    <>
      <span className={styles.swatch} data-tone={level.tone} /> {nameOf(level)} <b>{formatCount(level.count)}</b>
    </>
  )
  if (level.other) return <span className={styles.level}>{text}</span>
  return (
    <Button
      className={styles.level}
      weight="plain"
      small
      title={`Show ${nameOf(level)} alone`}
      onClick={() => onChoose(fieldTerm('level', level.level))}
    >
      {text}
    </Button>
  )
}

function readout(
  counts: HistogramView,
  total: number,
  bars: Stack | null,
  hovered: number | null,
  intervalS: number | null,
  view: View,
): string {
  const start = hovered === null ? undefined : bars?.starts[hovered]
  if (bars && start !== undefined && intervalS !== null && hovered !== null) {
    const to = formatMs((start + intervalS) * 1e3, view.zone).slice(11)
    return `${formatMs(start * 1e3, view.zone)} – ${to}: ${formatCount(bars.totals[hovered] ?? 0)}`
  }
  const sure = counts.state?.complete ?? false
  if (counts.running) return total > 0 ? `${events(total)} so far …` : 'Counting …'
  if (counts.state === null) return ''
  return `${sure ? '' : 'At least '}${events(total)}`
}

function events(count: number): string {
  return `${formatCount(count)} ${count === 1 ? 'event' : 'events'}`
}

/** What the axis spans: the range that was asked for, and whatever was found beyond it (clocks differ). */
function boundsOf(
  view: View,
  askedMs: number,
  buckets: readonly { start: string | null }[] | undefined,
): [number, number] | null {
  const asked = rangeMs(view, askedMs)
  const starts = (buckets ?? []).flatMap((bucket) => (bucket.start === null ? [] : [Date.parse(bucket.start)]))
  const from = Math.min(...(asked ? [asked[0]] : []), ...starts)
  const to = Math.max(...(asked ? [asked[1]] : []), ...starts)
  return Number.isFinite(from) && Number.isFinite(to) && to > from ? [from / 1e3, to / 1e3] : null
}

interface ChartProps {
  bars: Stack
  bounds: [number, number]
  zone: Zone
  onHover: (bar: number | null) => void
  onZoom: (fromS: number, toS: number) => void
}

function Chart({ bars, bounds, zone, onHover, onZoom }: ChartProps) {
  const place = useRef<HTMLDivElement>(null)
  const chart = useRef<ReturnType<typeof draw> | null>(null)
  const latest = useRef({ bars, onZoom })
  const [width, setWidth] = useState(0)
  const themes = useThemeChanges()
  const [fromS, toS] = bounds
  const layers = bars.layers.map((layer) => layer.tone).join()
  useEffect(() => {
    latest.current = { bars, onZoom }
  })
  useEffect(() => {
    const element = place.current
    if (!element) return
    const observer = new ResizeObserver(() => setWidth(element.clientWidth))
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  useEffect(() => {
    if (!place.current || width === 0) return
    const drawn = draw(place.current, {
      stack: () => latest.current.bars,
      boundsS: [fromS, toS],
      zone,
      width,
      height: HEIGHT_PX,
      onHover,
      onZoom: (from, to) => latest.current.onZoom(from, to),
    })
    chart.current = drawn
    return () => {
      chart.current = null
      drawn.destroy()
    }
  }, [layers, fromS, toS, width, themes, zone, onHover])
  useEffect(() => {
    chart.current?.setData(dataOf(bars))
  }, [bars])
  return <div ref={place} className={styles.chart} />
}

/** Counts how often the colours have changed, since a canvas keeps those that it was drawn with. */
function useThemeChanges(): number {
  const [changes, setChanges] = useState(0)
  useEffect(() => {
    const scheme = window.matchMedia('(prefers-color-scheme: dark)')
    const changed = () => setChanges((count) => count + 1)
    window.addEventListener(THEME_CHANGED, changed)
    scheme.addEventListener('change', changed)
    return () => {
      window.removeEventListener(THEME_CHANGED, changed)
      scheme.removeEventListener('change', changed)
    }
  }, [])
  return changes
}
