import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { act, render, screen } from '@testing-library/react'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'

import { json, serve, type Route } from '../../api/server'
import type { SystemStatus } from '../../api/status'
import { lagOf, oldestS, ownersOf, replicasOf } from './figures'
import StatusPage from './StatusPage'

const STATUS: SystemStatus = {
  log: {
    kind: 'sqlite',
    brokers: null,
    log_id: 'l',
    lag_records: 12,
    backlog_bytes: 4096,
    vnodes: { '0': { start: 0, end: 10, lag: 2 }, '1': { start: 5, end: 20, lag: 10 } },
  },
  pool: {
    wanted: 2,
    events_per_s: 1234.4,
    actors: {
      a: {
        actor: 'persist-0',
        vnodes: [0],
        host: 'one',
        buffered_bytes: 2048,
        oldest_s: 4,
        counts: { rows_stored: 1234 },
      },
      b: { actor: 'persist-1', vnodes: [] },
    },
    deaths: [],
    maintenance: {},
  },
  dashboard: 'http://127.0.0.1:8265',
  nodes: [{ node: 'n', host: 'one', alive: true, cpus: 2, metrics: 'one:1' }],
  replicas: { push: { RUNNING: 2, STARTING: 1 }, search: { RUNNING: 1 } },
  results: 'memory',
  table: { version: 7, objects: 3, rows: 999, bytes: 4096 },
  problems: [],
  warnings: [],
}

function show(route: Route) {
  serve({ 'GET /search/v1/status': route })
  render(
    <QueryClientProvider client={new QueryClient()}>
      <StatusPage />
    </QueryClientProvider>,
  )
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})
const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms))

it('sums over the parts', () => {
  expect(lagOf(STATUS)).toBe(12)
  expect(lagOf(STATUS, [1, 9])).toBe(10)
  expect(oldestS(Object.values(STATUS.pool.actors))).toBe(4)
  expect(replicasOf(STATUS.replicas)).toEqual({ running: 3, others: 1 })
  expect(ownersOf(STATUS)).toEqual(new Map([['0', 'persist-0']]))
})

it('shows the parts, and names a virtual node that nobody owns', async () => {
  show(() => json(STATUS))
  await pass(0)
  expect(screen.getByText('Complete answers are possible, and events are stored.')).toBeVisible()
  expect(screen.getByRole('row', { name: /1 nobody 5 20 10/ })).toBeVisible()
  expect(screen.getByRole('link', { name: 'Ray’s dashboard' })).toHaveAttribute('href', 'http://127.0.0.1:8265')
})

it('an address that is no web address is no link', async () => {
  show(() => json({ ...STATUS, dashboard: 'javascript:alert(1)' }))
  await pass(0)
  expect(screen.queryByRole('link')).toBeNull()
})

it('problems are told', async () => {
  show(() => json({ ...STATUS, problems: ['the event log: gone'], warnings: ['slow'] }))
  await pass(0)
  expect(screen.getByRole('alert')).toHaveTextContent('the event log: gone')
  expect(screen.getByText('slow')).toBeVisible()
})

it('figures are marked as stale as soon as an answer fails, and are fresh again after the next one', async () => {
  let answers = 0
  show(() => (++answers === 2 ? json({ title: 'Away', detail: 'starting' }, 503) : json(STATUS)))
  await pass(0)
  expect(screen.queryByText(/Stale/)).toBeNull()
  await pass(3_100)
  expect(screen.getByText(/Stale: as it was/)).toBeVisible()
  expect(screen.getByRole('alert')).toHaveTextContent('Away')
  expect(screen.getByText('persist-0', { selector: 'th' })).toBeVisible()
  await pass(3_100)
  expect(screen.queryByText(/Stale/)).toBeNull()
})

it('figures are stale when no answer comes at all', async () => {
  let answers = 0
  show(() => (++answers === 1 ? json(STATUS) : new Promise(() => undefined)))
  await pass(0)
  await pass(12_000)
  expect(screen.getByText(/Stale: as it was 12/)).toBeVisible()
})

it('a key without the scope is told which one is needed', async () => {
  show(() => json({ title: 'Forbidden', detail: 'no' }, 403))
  await pass(0)
  expect(screen.getByRole('alert')).toHaveTextContent('scope “admin”')
})
