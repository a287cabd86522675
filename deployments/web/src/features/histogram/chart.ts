// The drawing: uPlot, told what to draw. Bars are stacked by drawing the tallest sums first, each over the one before.
import uPlot, { type Axis, type Options, type Series } from 'uplot'

import type { LevelTone } from '../../ui/levels'
import { formatCompact } from '../../ui/format'
import { formatMs } from '../../view/time'
import type { Zone } from '../../view/view'
import { sumsOf, type Stack } from './stack'

export interface ChartOptions {
  /** What is drawn now: the numbers grow while a search runs, the layers stay. */
  stack: () => Stack
  boundsS: readonly [number, number]
  zone: Zone
  width: number
  height: number
  onHover: (bar: number | null) => void
  onZoom: (fromS: number, toS: number) => void
}

/** Narrower selections are clicks. */
const MIN_ZOOM_PX = 4

/** What a custom property of colour comes to, here and now: a canvas does not know properties. */
export function resolveColour(property: string): string {
  const probe = document.createElement('span')
  probe.style.color = `var(${property})`
  document.body.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

export function tonesOf(stack: Stack): LevelTone[] {
  return stack.layers.map((layer) => layer.tone)
}

/** Bars are drawn from the highest sums down, each over the one before. */
export function dataOf(stack: Stack): uPlot.AlignedData {
  return [stack.starts, ...sumsOf(stack).reverse()]
}

export function draw(place: HTMLElement, options: ChartOptions): uPlot {
  return new uPlot(uplotOptions(options), dataOf(options.stack()), place)
}

function uplotOptions({ stack, boundsS, zone, width, height, onHover, onZoom }: ChartOptions): Options {
  const muted = resolveColour('--text-muted')
  const line = resolveColour('--line')
  const font = `11px ${getComputedStyle(document.body).fontFamily}`
  const axis: Axis = { stroke: muted, font, grid: { show: false }, ticks: { stroke: line, width: 1, size: 4 }, gap: 3 }
  const bars = uPlot.paths.bars?.({ size: [0.92, 60], align: 1 })
  const series: Series[] = tonesOf(stack())
    .reverse()
    .map((tone) => {
      const colour = resolveColour(`--level-${tone}`)
      return { fill: colour, stroke: colour, width: 0, points: { show: false }, ...(bars ? { paths: bars } : {}) }
    })
  return {
    width,
    height,
    padding: [6, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
    scales: { x: { time: true, range: [boundsS[0], boundsS[1]] }, y: { range: (_, __, max) => [0, Math.max(1, max)] } },
    axes: [
      {
        ...axis,
        size: 22,
        space: 70,
        values: (_, ticks, __, ___, step) => ticks.map((tick) => tickText(tick, step, zone)),
      },
      {
        ...axis,
        size: 46,
        grid: { stroke: line, width: 1 },
        values: (_, ticks) => ticks.map(formatCompact),
        incrs: COUNTS,
      },
    ],
    series: [{}, ...series],
    tzDate: (seconds) => (zone === 'utc' ? uPlot.tzDate(new Date(seconds * 1e3), 'Etc/UTC') : new Date(seconds * 1e3)),
    hooks: {
      setCursor: [(chart) => onHover(barAt(chart, stack()))],
      setSelect: [
        (chart) => {
          const { left, width: size } = chart.select
          if (size < MIN_ZOOM_PX) return
          onZoom(chart.posToVal(left, 'x'), chart.posToVal(left + size, 'x'))
          chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
        },
      ],
    },
  }
}

/** The day at midnight, else the time of day, as fine as the steps are. */
function tickText(seconds: number, stepS: number, zone: Zone): string {
  const text = formatMs(seconds * 1e3, zone)
  if (text.endsWith('00:00:00')) return text.slice(5, 10)
  return stepS < 60 ? text.slice(11) : text.slice(11, 16)
}

/** Counts are whole: no ticks between them. */
const COUNTS = [1, 2, 5]
  .flatMap((digit) => Array.from({ length: 12 }, (_, zeros) => digit * 10 ** zeros))
  .sort((a, b) => a - b)

/** The bar under the pointer: the last one that begins at or before it. */
function barAt(chart: uPlot, stack: Stack): number | null {
  const left = chart.cursor.left ?? -1
  if (left < 0) return null
  const at = chart.posToVal(left, 'x')
  let low = 0
  let high = stack.starts.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((stack.starts[middle] ?? 0) <= at) low = middle + 1
    else high = middle
  }
  return low === 0 ? null : low - 1
}
