import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { render, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { expect, it } from 'vitest'

import { matchersOf, type Alert, type Alerts, type Silence } from '../../api/alerts'
import { json, serve, type Route } from '../../api/server'
import AlertsPage from './AlertsPage'

const ALERT: Alert = {
  group: 'payments',
  labels: { alertname: 'High', host: 'web-1' },
  annotations: {},
  state: 'firing',
  value: 12.5,
  query: '(level:ERROR) host:web-1',
  active_at: '2026-12-01T10:00:00.000000Z',
  starts_at: '2026-12-01T10:00:00.000000Z',
  ends_at: null,
  fingerprint: 'f',
  silenced_by: [],
}
const ASKED = {
  at: '2026-12-01T10:05:00.000000Z',
  arrived_from: '2026-12-01T10:00:00.000000Z',
  arrived_until: '2026-12-01T10:05:00.000000Z',
  complete: true,
  incomplete: [],
  notes: [],
}
const SILENCE: Silence = {
  id: 'a1',
  text: 'host="web-2"',
  starts_at: '2026-12-01T10:00:00.000000Z',
  ends_at: '2026-12-01T12:00:00.000000Z',
  active: true,
  comment: 'moving it',
  created_by: '',
}
const TOLD: Omit<Alerts, 'silences'> = {
  alerts: [ALERT, { ...ALERT, labels: { alertname: 'Slow' }, state: 'resolved', value: null, query: null }],
  groups: [
    {
      name: 'payments',
      interval: '1m',
      flaw: null,
      rules: [
        { alert: 'High', expr: 'level:ERROR | stats count() by host', last_evaluation: ASKED },
        {
          alert: 'Slow',
          expr: '* | stats p95(ms)',
          condition: 'p95(ms) > 5',
          last_evaluation: { ...ASKED, complete: false, incomplete: ['virtual node 3: no owner'] },
        },
        { alert: 'New', expr: '* | patterns', last_evaluation: null },
      ],
    },
  ],
  receivers: [],
}

function show(routes: Record<string, Route> = {}) {
  const asked = serve({
    'GET /search/v1/alerts': () => json(TOLD),
    'GET /search/v1/alerts/silences': () => json({ silences: [SILENCE] }),
    ...routes,
  })
  render(
    <QueryClientProvider client={new QueryClient()}>
      <AlertsPage />
    </QueryClientProvider>,
  )
  return asked
}

it('shows what fires, with its value and a link to its rows', async () => {
  show()
  const active = within(await screen.findByRole('region', { name: 'Active alerts' }))
  const row = within(active.getByRole('row', { name: /High firing/ }))
  expect(row.getByText('host=web-1')).toBeVisible()
  expect(row.getByText('12.5')).toBeVisible()
  expect(row.getByRole('link', { name: 'Show rows of High' })).toHaveAttribute(
    'href',
    '/?q=%28level%3AERROR%29+host%3Aweb-1&start=1970-01-01T00%3A00%3A00Z',
  )
  const resolved = within(active.getByRole('row', { name: /Slow resolved/ }))
  expect(resolved.getByText('no data')).toBeVisible()
  expect(resolved.queryByRole('link')).toBeNull()
  expect(resolved.queryByRole('button')).toBeNull()
})

it('shows where each rule stands, and whether its last answer was complete', async () => {
  show()
  const rules = within(await screen.findByRole('region', { name: 'Rules' }))
  expect(rules.getByRole('row', { name: /payments \/ High 1 firing .* complete$/ })).toBeVisible()
  expect(rules.getByRole('row', { name: /Slow quiet .* incomplete, and so as before.*no owner/ })).toBeVisible()
  expect(rules.getByRole('row', { name: /New not asked yet/ })).toBeVisible()
})

it('silences an alert by its labels, and says what was refused', async () => {
  const user = userEvent.setup()
  let answers = 0
  const asked = show({
    'POST /search/v1/alerts/silences': () =>
      ++answers === 1 ? json({ title: 'Bad Request', detail: 'no length of time' }, 400) : json(SILENCE, 201),
  })
  await user.click(await screen.findByRole('button', { name: 'Silence High' }))
  const dialog = within(screen.getByRole('dialog', { name: 'New silence' }))
  expect(dialog.getByLabelText('Matches')).toHaveValue('alertname="High", host="web-1"')
  await user.type(dialog.getByLabelText('Comment'), 'known')
  await user.click(dialog.getByRole('button', { name: 'Silence' }))
  expect(await dialog.findByRole('alert')).toHaveTextContent('no length of time')
  await user.click(dialog.getByRole('button', { name: 'Silence' }))
  await waitFor(() => expect(screen.queryByRole('dialog')).toBeNull())
  const sent = asked.filter(({ method }) => method === 'POST')
  expect(sent[1]?.body).toEqual({ matchers: 'alertname="High", host="web-1"', for: '2h', comment: 'known' })
})

it('ends a silence', async () => {
  const user = userEvent.setup()
  const asked = show({ 'DELETE /search/v1/alerts/silences/a1': () => json({ ...SILENCE, active: false }) })
  await user.click(await screen.findByRole('button', { name: 'End now the silence of host="web-2"' }))
  await waitFor(() => expect(asked.some(({ method }) => method === 'DELETE')).toBe(true))
})

it('says how to make rules where there are none, and what cannot be read', async () => {
  const group = { name: 'broken', interval: null, rules: [], flaw: 'it does not read as rules' }
  show({ 'GET /search/v1/alerts': () => json({ ...TOLD, alerts: [], groups: [group] }) })
  expect(await screen.findByText('There are no rules')).toBeVisible()
  expect(screen.getByRole('alert')).toHaveTextContent('broken: it does not read as rules')
})

it('a key without the scope is told which one is needed', async () => {
  show({ 'GET /search/v1/alerts': () => json({ title: 'Forbidden', detail: 'no' }, 403) })
  expect(await screen.findByRole('alert')).toHaveTextContent('scope “search”')
})

it('writes matchers that read back', () => {
  expect(matchersOf({ a: 'say "x\\y"', b: '', c: 'd' })).toBe('a="say \\"x\\\\y\\"", c="d"')
})
