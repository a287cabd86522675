import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { render, screen, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { describe, expect, it, vi } from 'vitest'

import { eventOf, eventStream, json, sent, serve, stateOf } from '../../api/server'
import type { LogEvent, QueryBody } from '../../api/types'
import { markerOf } from '../../query/matches'
import { USUAL, type View } from '../../view/view'
import { AroundDialog } from './AroundDialog'
import { Details } from './Details'
import { Row } from './Row'

const EVIL = '<img src=x onerror="alert(1)">\u001b[31m \u202egnp.exe'

function showRow(event: LogEvent, view: Partial<View> = {}) {
  const { query, columns, zone, wrap } = { ...USUAL, ...view }
  return render(
    <div role="grid">
      <div role="row">
        <Row {...{ event, columns, zone, wrap }} marker={markerOf(query)} open={false} active={false} />
      </div>
    </div>,
  )
}

function showDetails(event: LogEvent, view: Partial<View> = {}) {
  const onChange = vi.fn()
  const onAround = vi.fn()
  const shown = { ...USUAL, ...view }
  render(<Details event={event} view={shown} marker={markerOf(shown.query)} onChange={onChange} onAround={onAround} />)
  return { onChange, onAround }
}

describe('a row', () => {
  it('shows text of strangers as text: no markup, no controls, its writing direction kept inside', () => {
    const { container } = showRow(eventOf(0, { message: EVIL, service: EVIL, level: EVIL }))
    expect(container.querySelector('img')).toBeNull()
    for (const acting of ['\u001b', '\u202e']) expect(container.textContent).not.toContain(acting)
    expect(screen.getAllByText(/onerror/)).toHaveLength(3)
    for (const cell of screen.getAllByRole('gridcell').slice(1)) expect(cell.querySelector('bdi')).not.toBeNull()
  })

  it('marks what was found', () => {
    const { container } = showRow(eventOf(0, { message: 'Timeout after timeout' }), { query: 'timeout level:INFO' })
    expect([...container.querySelectorAll('mark')].map((mark) => mark.textContent)).toEqual(['Timeout', 'timeout'])
  })

  it('shows the chosen columns, attributes too, and the time in the chosen zone', () => {
    const event = eventOf(0, { attributes: { 'http.status': '404', host: 'other' } })
    showRow(event, { zone: 'utc', columns: ['host', 'http.status', 'attributes.host', 'none'] })
    const cells = screen.getAllByRole('gridcell').map((cell) => cell.textContent)
    expect(cells).toEqual(['11-24 10:00:00.000', 'INFO', 'web-1', '404', 'other', '', 'message 0'])
  })

  it('shows what was pushed under names of ours, and ours under theirs; numbers and booleans as their JSON', () => {
    const event = eventOf(3, { attributes: { offset: 0, row: false, 'http.status': 404, big: '9007199254740993' } })
    showRow(event, { columns: ['offset', 'row', 'http.status', 'big', '_ess.offset'] })
    const cells = screen.getAllByRole('gridcell').map((cell) => cell.textContent)
    expect(cells.slice(2, -1)).toEqual(['0', 'false', '404', '9007199254740993', String(event.offset)])
  })

  it('shows the beginning of a very long message', () => {
    showRow(eventOf(0, { message: 'x'.repeat(500_000) }))
    expect(screen.getByText(/^x+$/).textContent.length).toBeLessThan(1_000)
  })
})

describe('an opened event', () => {
  it('narrows the query for and against a value', async () => {
    const { onChange } = showDetails(eventOf(0, { attributes: { path: '/a b' } }), { query: 'x' })
    await userEvent.click(screen.getByRole('button', { name: 'Filter for service' }))
    await userEvent.click(screen.getByRole('button', { name: 'Filter out path' }))
    expect(onChange.mock.calls).toEqual([[{ query: 'x service:api' }], [{ query: 'x -path:"/a b"' }]])
  })

  it('filters for what was pushed under a name of ours, and for ours', async () => {
    const { onChange } = showDetails(eventOf(3, { attributes: { offset: 7, vnode: true } }))
    for (const name of ['offset', 'vnode', '_ess.offset'])
      await userEvent.click(screen.getByRole('button', { name: `Filter for ${name}` }))
    const terms = onChange.mock.calls.map(([part]) => (part as Partial<View>).query)
    expect(terms).toEqual(['offset:7', 'vnode:true', `_ess.offset:${eventOf(3).offset}`])
  })

  it('filters for a field whatever its name, and for none without one', async () => {
    const { onChange } = showDetails(eventOf(0, { attributes: { 'k8s-app': 'x', 'user agent': 'y', '': 'z' } }))
    await userEvent.click(screen.getByRole('button', { name: 'Filter for k8s-app' }))
    await userEvent.click(screen.getByRole('button', { name: 'Filter for user agent' }))
    expect(onChange.mock.calls).toEqual([[{ query: 'k8s-app:x' }], [{ query: '"user agent":y' }]])
    const nameless = screen.getByText('z').closest('div')
    if (!nameless) throw new Error('no field')
    expect(within(nameless).queryByRole('button', { name: /Filter/ })).toBeNull()
  })

  it('copies what is there, not what is shown', async () => {
    const user = userEvent.setup() // brings a clipboard
    showDetails(eventOf(0, { message: EVIL }))
    await user.click(screen.getByRole('button', { name: 'Copy message' }))
    expect(await navigator.clipboard.readText()).toBe(EVIL)
    expect(await screen.findByRole('button', { name: 'message copied' })).toBeInTheDocument()
  })

  it('turns columns on and off', async () => {
    const { onChange } = showDetails(eventOf(0, { attributes: { region: 'eu' } }))
    await userEvent.click(screen.getByRole('button', { name: 'Show column region' }))
    await userEvent.click(screen.getByRole('button', { name: 'Hide column service' }))
    expect(onChange.mock.calls).toEqual([[{ columns: ['service', 'region'] }], [{ columns: [] }]])
  })

  it('leads to its trace, around its time', () => {
    showDetails(eventOf(0, { trace_id: 'abc' }))
    const href = screen.getByRole('link', { name: /Trace/ }).getAttribute('href') ?? ''
    expect(Object.fromEntries(new URL(href, 'http://x').searchParams)).toEqual({
      q: 'trace_id:abc',
      start: '2026-11-24T09:00:00.000Z',
      end: '2026-11-24T11:00:00.000Z',
      order: 'oldest',
    })
  })

  it('shows a message of half a megabyte when it is asked to', async () => {
    showDetails(eventOf(0, { message: 'x'.repeat(500_000) }))
    await userEvent.click(screen.getByRole('button', { name: /Show all 500,000/ }))
    expect(screen.getByText(/^x+$/).textContent).toHaveLength(500_000)
  })
})

it('shows what its host said before and after, in order, with the event in the middle', async () => {
  const event = eventOf(5)
  const asked = serve({
    'POST /search/v1/queries': ({ body }) => json({ id: (body as QueryBody).order, state: 'running' }, 201),
    'GET /search/v1/queries/newest/stream': () =>
      eventStream(sent('event', eventOf(6)), sent('event', eventOf(7)), sent('done', stateOf())),
    'GET /search/v1/queries/oldest/stream': () =>
      eventStream(sent('event', event), sent('event', eventOf(4)), sent('done', stateOf())),
  })
  Element.prototype.scrollIntoView = vi.fn()
  render(
    <QueryClientProvider client={new QueryClient()}>
      <AroundDialog event={event} view={USUAL} marker={() => []} onClose={vi.fn()} />
    </QueryClientProvider>,
  )
  const rows = within(await screen.findByRole('grid')).getAllByRole('row')
  expect(rows.map((row) => /message \d/.exec(row.textContent)?.[0])).toEqual(
    [7, 6, 5, 4].map((row) => `message ${row}`),
  )
  expect(rows.findIndex((row) => row.getAttribute('aria-current') === 'true')).toBe(2)
  const [before, after] = asked.map(({ body }) => body as QueryBody)
  expect(before).toMatchObject({ query: 'host:web-1', end: event.timestamp, order: 'newest' })
  expect(after).toMatchObject({ query: 'host:web-1', start: event.timestamp, order: 'oldest' })
})
