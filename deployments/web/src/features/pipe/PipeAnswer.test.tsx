import { render, screen, within } from '@testing-library/react'
import { afterEach, describe, expect, it, vi } from 'vitest'

import { Problem } from '../../api/http'
import { json, sent, eventStream, serve, stateOf } from '../../api/server'
import type { Column, PipeState } from '../../api/types'
import { USUAL } from '../../view/view'
import { headline, PipeAnswer } from './PipeSearch'
import { usePipe, type PipeView } from './usePipe'

const COLUMNS: Column[] = [
  { name: 'pattern', type: 'text' },
  { name: 'count', type: 'number' },
  { name: 'first', type: 'time' },
  { name: 'query', type: 'text' },
  { name: 'new', type: 'boolean' },
  { name: 'trend', type: 'numbers' },
]
const ROWS = [
  ['took <num> ms', 1_234, '2026-11-24T10:00:00.000000Z', '(a) AND /took/', true, [0, 2]],
  ['<b>x', 0.1234567, null, '/x/', false, [0, 0]],
]

function tableOf(part: Partial<PipeState> = {}): PipeState {
  return { ...stateOf(), columns: COLUMNS, rows: ROWS, rows_total: ROWS.length, ...part }
}

function show(part: Partial<PipeView>) {
  const pipe = { state: tableOf(), running: false, problem: null, askedMs: 0, ...part }
  render(<PipeAnswer pipe={pipe} view={{ ...USUAL, zone: 'utc' }} onChange={vi.fn()} onAgain={vi.fn()} />)
}

afterEach(() => vi.unstubAllGlobals())

describe('the table of a pipe', () => {
  it('shows each value as its kind wants it', () => {
    show({})
    expect(screen.getAllByRole('columnheader').map((head) => head.textContent)).toEqual(COLUMNS.map(({ name }) => name))
    const [, first, second] = screen.getAllByRole('row')
    if (!first || !second) throw new Error('two rows are missing')
    const cells = (row: HTMLElement) =>
      within(row)
        .getAllByRole('cell')
        .map((cell) => cell.textContent)
    expect(cells(first).slice(0, 2)).toEqual(['took <num> ms', '1,234'])
    expect(cells(first)[2]).toContain('10:00:00')
    expect(cells(second)).toEqual(['<b>x', '0.123457', '–', 'Show rows', 'no', ''])
    expect(within(first).getByRole('img')).toHaveAccessibleName('Over time: 0, 2')
  })

  it('has a link to the rows that a query finds, in the same range', () => {
    show({})
    const [link] = screen.getAllByRole('link', { name: 'Show rows' })
    const query = new URLSearchParams(link?.getAttribute('href')?.slice(1)).get('q')
    expect(query).toBe('(a) AND /took/')
    expect(link).toHaveAttribute('title', '(a) AND /took/')
  })

  it('says how many rows there are, and that not all are drawn', () => {
    const rows = Array.from({ length: 1_001 }, () => [1])
    const pipe = { state: tableOf({ rows, rows_total: 20_000 }), running: false, problem: null, askedMs: 0 }
    expect(headline(pipe)).toBe('20,000 rows, the first 1,000 are shown')
    expect(headline({ ...pipe, state: tableOf({ rows: [[1]], rows_total: 1 }) })).toBe('1 row')
    expect(headline({ ...pipe, state: tableOf(), running: true })).toBe('2 rows so far …')
    expect(headline({ ...pipe, state: null, running: true })).toBe('Counting …')
  })

  it('says that it is not complete, and why', () => {
    show({ state: tableOf({ complete: false, incomplete: ['vnode 3 has no owner'] }) })
    expect(screen.getByText('vnode 3 has no owner')).toBeInTheDocument()
    expect(screen.getByRole('table')).toBeInTheDocument()
  })

  it('says that nothing matches, or what failed', () => {
    show({ state: tableOf({ rows: [], rows_total: 0 }) })
    expect(screen.getByText('Nothing matches in this time range')).toBeInTheDocument()
    show({ state: null, problem: new Problem(503, 'Unavailable', 'the log is away') })
    expect(screen.getByRole('alert')).toHaveTextContent('Unavailable. the log is away')
  })
})

it('a query with stages is asked as a pipe', async () => {
  const asked = serve({
    'POST /search/v1/pipes': () => json({ id: 'q1', state: 'running' }, 201),
    'GET /search/v1/queries/q1/stream': () => eventStream(sent('done', tableOf())),
    'GET /search/v1/key': () => json({ tenant: 'default', key: null }),
  })
  const query = 'a | patterns'
  function Probe() {
    const [pipe] = usePipe({ ...USUAL, query }, 0)
    return <p>{pipe.running ? 'running' : `${pipe.state?.rows?.length} rows`}</p>
  }
  render(<Probe />)
  expect(await screen.findByText('2 rows')).toBeInTheDocument()
  expect(asked[0]?.body).toMatchObject({ query, start: '-1h', executor: 'auto' })
})
