import { fireEvent, render, screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { beforeEach, describe, expect, it, vi } from 'vitest'

import { USUAL, type View } from '../../view/view'
import { TimeRange } from './TimeRange'

let onChange = vi.fn()
beforeEach(() => (onChange = vi.fn()))

async function open(view: Partial<View> = {}) {
  render(<TimeRange view={{ ...USUAL, ...view }} onChange={onChange} />)
  await userEvent.click(screen.getByTitle('Time range (t)'))
}

describe('the time range', () => {
  it('has presets', async () => {
    await open()
    expect(screen.getByRole('button', { name: '1 h' })).toHaveAttribute('aria-pressed', 'true')
    await userEvent.click(screen.getByRole('button', { name: '12 h' }))
    expect(onChange).toHaveBeenCalledWith({ start: '-12h', end: null })
  })

  it('takes a length of one’s own, and says what one is', async () => {
    await open()
    await userEvent.type(screen.getByLabelText('Last'), 'soon{Enter}')
    expect(screen.getByRole('alert')).toHaveTextContent('45m')
    await userEvent.clear(screen.getByLabelText('Last'))
    await userEvent.type(screen.getByLabelText('Last'), '36 hours{Enter}')
    expect(onChange).toHaveBeenCalledWith({ start: '-36h', end: null })
  })

  it('takes two moments in the zone that is shown, in their order', async () => {
    await open({ zone: 'utc', start: '2026-11-24T10:00:00Z', end: '2026-11-24T11:00:00Z' })
    const [start, end] = [screen.getByLabelText('Start'), screen.getByLabelText(/^End/)]
    expect(start).toHaveValue('2026-11-24T10:00')
    fireEvent.change(end, { target: { value: '2026-11-24T09:00:00' } })
    await userEvent.click(screen.getByRole('button', { name: 'Apply start and end' }))
    expect(screen.getByRole('alert')).toHaveTextContent('before it begins')
    fireEvent.change(end, { target: { value: '2026-11-24T12:30:00' } })
    await userEvent.click(screen.getByRole('button', { name: 'Apply start and end' }))
    expect(onChange).toHaveBeenCalledWith({ start: '2026-11-24T10:00:00.000Z', end: '2026-11-24T12:30:00.000Z' })
  })

  it('moves by its own length, and changes the zone, by keys too', async () => {
    const view = { ...USUAL, start: '2026-11-24T10:00:00Z', end: '2026-11-24T11:00:00Z' }
    render(<TimeRange view={view} onChange={onChange} />)
    await userEvent.keyboard('[[')
    expect(onChange).toHaveBeenLastCalledWith({ start: '2026-11-24T09:00:00.000Z', end: '2026-11-24T10:00:00.000Z' })
    await userEvent.keyboard('u')
    expect(onChange).toHaveBeenLastCalledWith({ zone: 'utc' })
  })
})
