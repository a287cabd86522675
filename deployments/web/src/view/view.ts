// What a person is looking at, and how it is written into the address. What is as usual is left out, so that addresses
// stay short; what cannot be read counts as usual, so that a mistyped link still opens. A key is never part of it.
import { useCallback, useMemo } from 'react'

import type { Executor, Order } from '../api/types'
import { currentAddress, navigate, useAddress } from './address'

export type Zone = 'local' | 'utc'

export interface View {
  query: string
  /** As the interface takes it: relative (`-1h`) or RFC 3339. */
  start: string
  /** Null: now, without upper bound. */
  end: string | null
  order: Order
  executor: Executor
  zone: Zone
  wrap: boolean
  /** Columns between level and message: names of columns, or of attributes. */
  columns: string[]
}

export const USUAL: View = {
  query: '',
  start: '-1h',
  end: null,
  order: 'newest',
  executor: 'auto',
  zone: 'local',
  wrap: false,
  columns: ['service'],
}

/** Columns that a row can show beside its message: more than fit on any screen. */
const MAX_COLUMNS = 20

export function readView(search: string): View {
  const given = new URLSearchParams(search)
  const one = <T extends string>(name: string, allowed: readonly T[], usual: T): T => {
    const value = given.get(name)
    return allowed.find((candidate) => candidate === value) ?? usual
  }
  const columns = given.get('columns')
  return {
    query: given.get('q') ?? USUAL.query,
    start: readStart(given.get('start')),
    end: readEnd(given.get('end')),
    order: one('order', ['newest', 'oldest'], USUAL.order),
    executor: one('executor', ['auto', 'ray', 'lambda'], USUAL.executor),
    zone: one('tz', ['local', 'utc'], USUAL.zone),
    wrap: given.get('wrap') === '1',
    columns: columns === null ? USUAL.columns : readColumns(columns),
  }
}

function readStart(text: string | null): string {
  const start = text?.trim() ?? ''
  return start === '' ? USUAL.start : start
}

function readEnd(text: string | null): string | null {
  const end = text?.trim() ?? ''
  return end === '' || end === 'now' ? null : end
}

function readColumns(text: string): string[] {
  return [...new Set(text.split(',').filter((name) => name !== ''))].slice(0, MAX_COLUMNS)
}

/** Give the query string of a view, with its question mark, or nothing when all is as usual. */
export function writeView(view: View): string {
  const given = new URLSearchParams()
  const put = (name: string, value: string, usual: string) => {
    if (value !== usual) given.set(name, value)
  }
  put('q', view.query, USUAL.query)
  put('start', view.start, USUAL.start)
  put('end', view.end ?? 'now', 'now')
  put('order', view.order, USUAL.order)
  put('executor', view.executor, USUAL.executor)
  put('tz', view.zone, USUAL.zone)
  put('wrap', view.wrap ? '1' : '', '')
  put('columns', view.columns.join(','), USUAL.columns.join(','))
  const text = given.toString()
  return text ? `?${text}` : ''
}

/** The address of the search page with this view. */
export function searchHref(view: View): string {
  return `/${writeView(view)}`
}

/** The view of the address, and a way to change parts of it. Each change is a step that "back" takes back. */
export function useView(): [View, (change: Partial<View>) => void] {
  const { search } = useAddress()
  const view = useMemo(() => readView(search), [search])
  const change = useCallback((part: Partial<View>) => {
    // From the address as it is now: two changes in one handler must not undo each other.
    const here = currentAddress()
    navigate(here.path + writeView({ ...readView(here.search), ...part }))
  }, [])
  return [view, change]
}
