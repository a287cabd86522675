// The rows: as many as there are, of which only those on the screen exist. Rows are only ever added at the end.
import { useVirtualizer, type Virtualizer } from '@tanstack/react-virtual'
import {
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  type CSSProperties,
  type KeyboardEvent,
  type MouseEvent,
  type ReactNode,
  type RefObject,
} from 'react'

import type { LogEvent } from '../../api/types'
import { markerOf } from '../../query/matches'
import { useShortcuts } from '../../ui/shortcuts'
import type { View } from '../../view/view'
import { AroundDialog } from '../row/AroundDialog'
import { Details } from '../row/Details'
import { Row } from '../row/Row'
import styles from './ResultList.module.css'
import { identity, type RunView } from './run'

/** What a row is taken to measure until it is on the screen. */
const ROW_PX = 22
/** Rows made above and below the screen, so that scrolling shows no gaps. */
const OVERSCAN = 20
/** So many rows before the end the next ones are asked for. */
const AHEAD_ROWS = 200
const PAGE = 20

/** For a list that grows while somebody reads it. */
export interface Following {
  /** The last row is kept in sight. */
  on: boolean
  /** A person scrolls up (false), or is at the last row again (true). */
  onChange: (on: boolean) => void
  /** A person reads a certain row. */
  onRead: () => void
}

interface ResultListProps {
  run: Pick<RunView, 'rows' | 'count' | 'running' | 'hasMore'>
  view: View
  onChange: (part: Partial<View>) => void
  onMore: () => void
  /** Below the last row. */
  end: ReactNode
  following?: Following
}

export function ResultList({ run, view, onChange, onMore, end, following }: ResultListProps) {
  const place = useRef<HTMLDivElement>(null)
  const grid = useRef<HTMLDivElement>(null)
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set())
  const [active, setActive] = useState(-1)
  const [aroundOf, setAroundOf] = useState<LogEvent | null>(null)
  const marker = useMemo(() => markerOf(view.query), [view.query])
  const list = useVirtualizer({
    count: run.count,
    getScrollElement: () => place.current,
    estimateSize: () => ROW_PX,
    overscan: OVERSCAN,
  })
  const items = list.getVirtualItems()
  const last = items.at(-1)?.index ?? 0
  useEffect(() => {
    if (run.hasMore && !run.running && last >= run.count - AHEAD_ROWS) onMore()
  }, [run.hasMore, run.running, run.count, last, onMore])
  const scrolled = useFollowing(list, place, run, following)
  const isFollowing = following?.on ?? false
  useEffect(() => {
    if (!isFollowing) return
    setOpen(new Set()) // the oldest rows may go now, and the places of all change
    setActive(-1)
  }, [isFollowing])

  const toggle = useCallback((index: number) => setOpen((before) => toggled(before, index)), [])
  const act = (index: number) => {
    following?.onRead()
    toggle(index)
    // What opens below the last line would not be seen.
    requestAnimationFrame(() => document.getElementById(rowId(index))?.scrollIntoView({ block: 'nearest' }))
  }
  const step = (by: number) => {
    if (run.count === 0) return
    following?.onRead()
    const next = Math.max(0, Math.min(run.count - 1, active + by))
    setActive(next)
    list.scrollToIndex(next, { align: 'auto' })
    grid.current?.focus({ preventScroll: true })
  }
  const keys: Record<string, () => void> = {
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    PageDown: () => step(PAGE),
    PageUp: () => step(-PAGE),
    Home: () => step(-run.count),
    End: () => step(run.count),
    Enter: () => active >= 0 && act(active),
  }
  useShortcuts({ j: () => step(1), k: () => step(-1) })
  const pressed = (event: KeyboardEvent) => {
    if (event.target !== grid.current || event.ctrlKey || event.metaKey || event.altKey) return
    const pressedKey = keys[event.key]
    if (!pressedKey) return
    event.preventDefault()
    pressedKey()
  }
  const clicked = (event: MouseEvent) => {
    const row = event.target instanceof Element ? event.target.closest('[data-line]') : null
    // Selecting text is no wish to open.
    if (row === null || window.getSelection()?.isCollapsed === false) return
    const index = Number(row.getAttribute('data-line'))
    setActive(index)
    act(index)
  }
  return (
    <>
      <div
        ref={place}
        className={styles.list}
        onScroll={scrolled}
        style={{ '--columns': view.columns.length } as CSSProperties}
      >
        <div
          ref={grid}
          className={styles.grid}
          role="treegrid"
          aria-label="Events"
          aria-rowcount={run.hasMore || run.running ? -1 : run.count + 1}
          aria-busy={run.running}
          aria-activedescendant={active >= 0 && items.some((item) => item.index === active) ? rowId(active) : undefined}
          tabIndex={0}
          onKeyDown={pressed}
          onClick={clicked}
        >
          <Head columns={view.columns} />
          <div role="rowgroup" className={styles.all} style={{ height: list.getTotalSize() }}>
            <div
              role="presentation"
              className={styles.shown}
              style={{ transform: `translateY(${items[0]?.start ?? 0}px)` }}
            >
              {items.map(({ index }) => {
                const event = run.rows[index]
                if (!event) return null
                const isOpen = open.has(index)
                return (
                  <div
                    key={index}
                    ref={list.measureElement}
                    data-index={index}
                    id={rowId(index)}
                    role="row"
                    aria-rowindex={index + 2}
                    aria-expanded={isOpen}
                    aria-selected={index === active}
                    data-event={identity(event)}
                  >
                    <div data-line={index} role="presentation">
                      <Row
                        event={event}
                        columns={view.columns}
                        marker={marker}
                        zone={view.zone}
                        wrap={view.wrap}
                        open={isOpen}
                        active={index === active}
                      />
                    </div>
                    {isOpen && (
                      <div role="gridcell">
                        <Details event={event} view={view} marker={marker} onChange={onChange} onAround={setAroundOf} />
                      </div>
                    )}
                  </div>
                )
              })}
            </div>
          </div>
        </div>
        {end}
      </div>
      {aroundOf && <AroundDialog event={aroundOf} view={view} marker={marker} onClose={() => setAroundOf(null)} />}
    </>
  )
}

/** Keep the last row in sight; gives what is to be told of every scroll, which may be a person's or ours. */
function useFollowing(
  list: Virtualizer<HTMLDivElement, Element>,
  place: RefObject<HTMLDivElement | null>,
  run: ResultListProps['run'],
  following: Following | undefined,
): (() => void) | undefined {
  const lastTop = useRef(0)
  const on = following?.on ?? false
  useLayoutEffect(() => {
    if (on && run.count > 0) list.scrollToIndex(run.count - 1, { align: 'end' })
  }, [list, on, run.rows, run.count])
  if (following === undefined) return undefined
  return () => {
    const element = place.current
    if (element === null) return
    const isAtEnd = element.scrollHeight - element.scrollTop - element.clientHeight < ROW_PX / 2
    // Up is a person's: new rows, and rows that are higher than was thought, only ever leave us above the end.
    const isUp = element.scrollTop < lastTop.current
    lastTop.current = element.scrollTop
    if (isAtEnd || isUp) following.onChange(isAtEnd)
  }
}

function Head({ columns }: { columns: readonly string[] }) {
  return (
    <div role="row" aria-rowindex={1} className={styles.head}>
      {['Time', 'Level', ...columns, 'Message'].map((name) => (
        <span key={name} role="columnheader">
          {name}
        </span>
      ))}
    </div>
  )
}

function rowId(index: number): string {
  return `event-${index}`
}

function toggled(before: ReadonlySet<number>, index: number): ReadonlySet<number> {
  const after = new Set(before)
  if (!after.delete(index)) after.add(index)
  return after
}
