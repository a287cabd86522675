import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { act, render, screen, waitFor } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, expect, it, vi } from 'vitest'

import { setKey } from '../../api/key'
import { json, serve, type Asked } from '../../api/server'
import { USUAL } from '../../view/view'
import { FieldValues } from './FieldValues'
import { namedFields } from './names'

const LABEL = 'Values of host begin with'

afterEach(() => setKey(null))

/** A server that has `web-0`, `web-1`, ... of 100 down events each; gives what was asked. */
function hosts(names: string[]): Asked[] {
  return serve({
    'GET /search/v1/fields/host/values': ({ path }) => {
      const parameters = new URLSearchParams(path.split('?')[1])
      const prefix = parameters.get('prefix') ?? ''
      if (prefix === '(') return json({ title: 'Bad request', detail: 'this prefix is too much' }, 400)
      const all = names.map((value, at) => ({ value, count: 100 - at })).filter(({ value }) => value.startsWith(prefix))
      const rows = all.reduce((sum, { count }) => sum + count, 0)
      const values = all.slice(0, Number(parameters.get('top')))
      return json({ field: 'host', values, distinct: all.length, rows, complete: true, incomplete: [] })
    },
  })
}

function show() {
  const field = namedFields([{ name: 'host', kind: 'column', count: 100 }], '')[0]
  if (!field) throw new Error('no field')
  render(
    <QueryClientProvider client={new QueryClient({ defaultOptions: { queries: { retry: false, staleTime: 60_000 } } })}>
      <FieldValues field={field} view={USUAL} round={0} onChange={vi.fn()} />
    </QueryClientProvider>,
  )
}

const names = (count: number) => Array.from({ length: count }, (_, at) => `web-${at}`)
const listed = () => screen.getAllByRole('listitem').map((item) => item.querySelector('span')?.textContent)
const prefixes = (asked: Asked[]) => asked.map(({ path }) => new URLSearchParams(path.split('?')[1]).get('prefix'))

it('there is nothing to find where every value is listed', async () => {
  hosts(names(10))
  show()
  await screen.findByText('web-9')
  expect(screen.queryByRole('searchbox')).toBeNull()
  expect(screen.queryByRole('button', { name: 'Show up to 100' })).toBeNull()
})

it('values that are not listed are found by how they begin, of which the server is asked once', async () => {
  const asked = hosts([...names(10), 'db-eu', 'db-us'])
  show()
  await userEvent.type(await screen.findByRole('searchbox', { name: LABEL }), 'db-')
  await waitFor(() => expect(listed()).toEqual(['db-eu', 'db-us']))
  expect(screen.getByRole('status')).toHaveTextContent('2 values begin so')
  expect(screen.getAllByRole('listitem')[0]).toHaveTextContent('8 %') // of all events, not of those that begin so
  expect(prefixes(asked)).toEqual([null, 'db-'])
})

it('what was typed can be taken back, also where it found little', async () => {
  hosts([...names(10), 'db-eu'])
  show()
  const input = await screen.findByRole('searchbox', { name: LABEL })
  await userEvent.type(input, 'DB')
  expect(await screen.findByText(/^No value begins so\. Capital/)).toBeVisible()
  await userEvent.clear(input)
  await waitFor(() => expect(listed()).toHaveLength(10))
  expect(input).toHaveFocus()
})

it('what cannot be answered is told below what was typed', async () => {
  hosts(names(11))
  show()
  const input = await screen.findByRole('searchbox', { name: LABEL })
  await userEvent.type(input, '(')
  expect(await screen.findByRole('alert')).toHaveTextContent('this prefix is too much')
  await userEvent.clear(input)
  await waitFor(() => expect(listed()).toHaveLength(10))
})

it('values are counted anew for another key, which may be of another tenant', async () => {
  const asked = hosts(names(2))
  show()
  await screen.findByText('web-1')
  act(() => setKey('ess_other'))
  await waitFor(() => expect(asked).toHaveLength(2))
  expect(asked[1]?.headers.get('Authorization')).toBe('Bearer ess_other')
})
