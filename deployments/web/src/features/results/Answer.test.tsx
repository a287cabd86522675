import { fireEvent, render, screen } from '@testing-library/react'
import { describe, expect, it, vi } from 'vitest'

import { Problem } from '../../api/http'
import { eventOf, stateOf } from '../../api/server'
import type { Executor } from '../../api/types'
import { USUAL } from '../../view/view'
import { AnswerEnd, AnswerNotices } from './AnswerEnd'
import { facts, ResultBar } from './ResultBar'
import type { RunView } from './run'

function runOf(part: Partial<RunView>): RunView {
  return {
    rows: [],
    count: 0,
    state: null,
    queryId: 'q1',
    firstId: 'q1',
    running: false,
    hasMore: false,
    incomplete: [],
    problem: null,
    ...part,
  }
}

function show(part: Partial<RunView>) {
  const run = runOf(part)
  const onChange = vi.fn()
  render(
    <>
      <ResultBar run={run} view={USUAL} onChange={vi.fn()} />
      <AnswerNotices run={run} onAgain={vi.fn()} />
      <AnswerEnd run={run} view={USUAL} onChange={onChange} />
    </>,
  )
  return onChange
}

describe('an answer', () => {
  it('says how far it is', () => {
    show({ running: true, count: 5, rows: [eventOf(0)], state: stateOf({ state: 'running' }) })
    expect(screen.getByText('5 rows so far …')).toBeInTheDocument()
    expect(screen.getByRole('progressbar')).toHaveAttribute('value', '1')
    expect(screen.getByRole('status')).toHaveTextContent('Searching')
  })

  it('says that it is not complete, and why, once it has ended', () => {
    show({ count: 1, state: stateOf({ complete: false }), incomplete: ['vnode 3 has no owner'] })
    expect(screen.getByText('This answer is not complete.')).toBeInTheDocument()
    expect(screen.getByText('vnode 3 has no owner')).toBeInTheDocument()
    expect(screen.getByRole('button', { name: 'Search again' })).toBeInTheDocument()
  })

  it('says that nothing matches only when it knows', () => {
    show({ state: stateOf() })
    expect(screen.getByText('Nothing matches in this time range')).toBeInTheDocument()
    expect(screen.getByRole('button', { name: 'Last 7 days' })).toBeInTheDocument()
  })

  it('says no such thing when it is not complete', () => {
    show({ state: stateOf({ complete: false }), incomplete: ['an object is missing'] })
    expect(screen.queryByText('Nothing matches in this time range')).toBeNull()
    expect(screen.getByText('Nothing was found')).toBeInTheDocument()
  })

  it('tells the hints of the server, and asks what they say at one click', () => {
    const hints = [
      { kind: 'no_such_field', text: 'no event has a field db01', query: null, start: null },
      { kind: 'search_text', text: 'quote it', query: '"db01:5432"', start: null },
      { kind: 'empty_range', text: 'the newest is older', query: null, start: '2026-11-20T10:00:00.000000Z' },
    ]
    const onChange = show({ state: stateOf({ hints }) })
    expect(screen.getAllByRole('listitem').map(({ textContent }) => textContent)).toEqual([
      'no event has a field db01',
      'quote it"db01:5432"',
      'the newest is olderLook there',
    ])
    fireEvent.click(screen.getByRole('button', { name: '"db01:5432"' }))
    expect(onChange).toHaveBeenLastCalledWith({ query: '"db01:5432"' })
    fireEvent.click(screen.getByRole('button', { name: 'Look there' }))
    expect(onChange).toHaveBeenLastCalledWith({ start: '2026-11-20T10:00:00.000000Z', end: null })
  })

  it('says what failed', () => {
    show({ problem: new Problem(503, 'Unavailable', 'the log is away'), count: 2, state: stateOf() })
    expect(screen.getByRole('alert')).toHaveTextContent('Unavailable. the log is away')
    expect(screen.getByRole('status')).toHaveTextContent('2 rows, then it failed')
  })

  it('asks for a key', () => {
    show({ problem: new Problem(401, 'Unauthorized', '') })
    expect(screen.getByRole('button', { name: 'Enter a key' })).toBeInTheDocument()
  })
})

it('names Ray as who did the work only where it was chosen', () => {
  const last = (executor: Executor) => facts(stateOf(), false, { ...USUAL, executor })
  expect(last('ray')).toContain('Ray')
  expect(last('auto')).not.toContain('Ray')
  expect(last('lambda')).not.toContain('Ray') // nothing was left to scan: no invocation, and no Ray task either
})

it('a key that may not search is told so, with the way to another one', () => {
  show({ problem: new Problem(403, 'Forbidden', 'the key k1 is for push, this needs search') })
  expect(screen.getByRole('alert')).toHaveTextContent('it needs the scope “search”')
  expect(screen.getByRole('button', { name: 'Enter a key' })).toBeInTheDocument()
  expect(screen.queryByRole('button', { name: 'Search again' })).toBeNull()
})

it('tells what an answer took, and what is final of it', () => {
  const state = stateOf({ elapsed_ms: 1_234 })
  const progress = {
    ...state.progress,
    objects_pruned: 1_000,
    invocations: 3,
    estimated_cost_usd: 0.00123,
    complete_from: '2026-11-24T10:00:00.000000Z',
  }
  expect(facts({ ...state, progress }, true, { ...USUAL, zone: 'utc' })).toEqual([
    '2 of 2 objects',
    '1,000 ruled out',
    '2.0 KiB read',
    'final down to 11-24 10:00:00.000',
    'Lambda: 3 invocations',
    '$0.0012',
    '1.2 s',
  ])
})
