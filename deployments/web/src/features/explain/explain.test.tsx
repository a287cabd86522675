import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { act, renderHook, waitFor } from '@testing-library/react'
import type { ReactNode } from 'react'
import { expect, it } from 'vitest'

import type { Explanation } from '../../api/explain'
import { json, serve } from '../../api/server'
import type { QueryBody } from '../../api/types'
import { USUAL, type View } from '../../view/view'
import { isLarge, LARGE_BYTES } from './large'
import { figures } from './Plan'
import { planInTime, bodyOf, useGate } from './useGate'

function aPlan(part: Partial<Explanation> = {}): Explanation {
  return {
    query: 'message contains "x"',
    start: '2026-11-24T10:00:00Z',
    end: null,
    objects_total: 100,
    objects_pruned: 60,
    objects: 40,
    bytes_total: 2_000,
    bytes_to_read: 1_000,
    gets: 80,
    in_flight_rows: 5,
    executor: 'ray',
    tasks: 4,
    lambda: null,
    prefilter: [],
    complete: true,
    incomplete: [],
    ...part,
  }
}

/** The server's plans by query; gives the queries that were asked about. */
function planning(plans: Record<string, Explanation>): string[] {
  const queries: string[] = []
  serve({
    'POST /search/v1/explain': ({ body }) => {
      const { query } = body as QueryBody
      queries.push(query)
      const plan = plans[query]
      return plan ? json(plan) : json({ title: 'No' }, 503)
    },
  })
  return queries
}

function gate(first: View) {
  const client = new QueryClient()
  const wrapper = ({ children }: { children: ReactNode }) => (
    <QueryClientProvider client={client}>{children}</QueryClientProvider>
  )
  return renderHook(({ view, round }) => useGate(view, round), { initialProps: { view: first, round: 0 }, wrapper })
}

const small: View = { ...USUAL, query: 'small' }
const large: View = { ...USUAL, query: 'large' }
const PLANS = { small: aPlan(), large: aPlan({ bytes_to_read: LARGE_BYTES + 1 }) }

it('a plan is large from its first byte above the bound', () => {
  expect(isLarge(aPlan({ bytes_to_read: LARGE_BYTES }))).toBe(false)
  expect(isLarge(aPlan({ bytes_to_read: LARGE_BYTES + 1 }))).toBe(true)
})

it('a small search waits for its plan and runs', async () => {
  planning(PLANS)
  const { result } = gate(small)
  expect(result.current).toMatchObject({ open: false, held: null })
  await waitFor(() => expect(result.current.open).toBe(true))
})

it('a large search is held until somebody wants it, and another one is looked at anew', async () => {
  const asked = planning(PLANS)
  const { result, rerender } = gate(large)
  await waitFor(() => expect(result.current.held).not.toBeNull())
  expect(result.current.open).toBe(false)
  act(() => result.current.release())
  expect(result.current).toMatchObject({ open: true, held: null })
  rerender({ view: large, round: 1 })
  expect(result.current.open).toBe(true)
  rerender({ view: small, round: 1 })
  expect(result.current.open).toBe(false)
  await waitFor(() => expect(result.current.open).toBe(true))
  expect(asked).toEqual(['large', 'small'])
})

it('a server that cannot plan does not hinder the search', async () => {
  planning({})
  const { result } = gate(small)
  await waitFor(() => expect(result.current.open).toBe(true))
})

it('a plan that takes long does not hinder the search', async () => {
  serve({
    'POST /search/v1/explain': (_, signal) =>
      new Promise((__, reject) => {
        signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')))
      }),
  })
  expect(await planInTime(bodyOf(small), new AbortController().signal, 1)).toBeNull()
})

it('a plan is told in figures', () => {
  const lambda = { invocations: 12, gb_seconds: 3, estimated_cost_usd: 0.00123 }
  const told = new Map(figures(aPlan({ lambda, tasks: 0 }), 'utc'))
  expect(told.get('Objects')).toBe('40 of 100, 60 ruled out')
  expect(told.get('Lambda')).toBe('12 invocations, about $0.0012')
  expect(told.get('Tasks')).toContain('none')
  expect(told.get('From')).toBe('2026-11-24 10:00:00.000000 UTC')
})
