// From when to when: presets, a length of one's own, two moments, and the zone in which times are shown.
import * as Popover from '@radix-ui/react-popover'
import { useState, type SubmitEvent } from 'react'

import { Button, IconButton } from '../../ui/Button'
import { classes } from '../../ui/classes'
import { Icon } from '../../ui/Icon'
import { useShortcuts } from '../../ui/shortcuts'
import {
  describeRange,
  fromInput,
  lengthMs,
  PRESETS,
  rangeMs,
  shiftRange,
  toInput,
  toRfc3339,
  type Range,
} from '../../view/time'
import type { View } from '../../view/view'
import styles from './TimeRange.module.css'

interface TimeRangeProps {
  view: View
  onChange: (part: Partial<View>) => void
}

export function TimeRange({ view, onChange }: TimeRangeProps) {
  const [open, setOpen] = useState(false)
  const choose = (range: Range) => {
    setOpen(false)
    onChange(range)
  }
  const shift = (steps: -1 | 1) => {
    const range = shiftRange(view, steps, Date.now())
    if (range) onChange(range)
  }
  useShortcuts({
    t: () => setOpen(true),
    u: () => onChange({ zone: view.zone === 'utc' ? 'local' : 'utc' }),
    '[': () => shift(-1),
    ']': () => shift(1),
  })
  return (
    <div className={styles.range}>
      <IconButton icon="left" label="Earlier ([)" weight="plain" onClick={() => shift(-1)} />
      <Popover.Root open={open} onOpenChange={setOpen}>
        <Popover.Trigger asChild>
          <Button className={styles.button} title="Time range (t)">
            <Icon name="clock" />
            <span className={styles.text}>{describeRange(view, view.zone)}</span>
            <span className={styles.zone}>{view.zone === 'utc' ? 'UTC' : 'local'}</span>
            <Icon name="down" size={12} />
          </Button>
        </Popover.Trigger>
        <Popover.Portal>
          <Popover.Content
            className={styles.panel}
            align="end"
            sideOffset={4}
            collisionPadding={8}
            aria-label="Time range"
          >
            <Presets view={view} onChoose={choose} />
            <Custom key={`${view.start} ${view.end ?? ''} ${view.zone}`} view={view} onChoose={choose} />
            <fieldset className={styles.zones}>
              <legend>Show times in</legend>
              {(['local', 'utc'] as const).map((zone) => (
                <label key={zone}>
                  <input type="radio" name="zone" checked={view.zone === zone} onChange={() => onChange({ zone })} />
                  {zone === 'utc' ? 'UTC' : `local time (${Intl.DateTimeFormat().resolvedOptions().timeZone})`}
                </label>
              ))}
            </fieldset>
          </Popover.Content>
        </Popover.Portal>
      </Popover.Root>
      <IconButton icon="right" label="Later (])" weight="plain" onClick={() => shift(1)} />
    </div>
  )
}

function Presets({ view, onChoose }: { view: View; onChoose: (range: Range) => void }) {
  return (
    <div className={styles.presets} role="group" aria-label="Presets">
      {PRESETS.map(({ start, label, short }) => (
        <Button
          key={start}
          small
          title={label}
          aria-pressed={view.end === null && view.start === start}
          onClick={() => onChoose({ start, end: null })}
        >
          {short}
        </Button>
      ))}
    </div>
  )
}

/** `45 minutes` and `36 hours` are lengths, too. */
const WORDED = /^(\d{1,6})\s*(s|m|h|d|w)[a-z]*$/i

function Custom({ view, onChoose }: { view: View; onChoose: (range: Range) => void }) {
  const [fromMs, toMs] = rangeMs(view, Date.now()) ?? [null, null]
  const [from, setFrom] = useState(fromMs === null ? '' : toInput(fromMs, view.zone))
  const [to, setTo] = useState(toMs === null || view.end === null ? '' : toInput(toMs, view.zone))
  const [length, setLength] = useState('')
  const [wrong, setWrong] = useState('')
  const applyLength = (event: SubmitEvent) => {
    event.preventDefault()
    const worded = WORDED.exec(length.trim())
    const written = worded ? `${worded[1] ?? ''}${(worded[2] ?? '').toLowerCase()}` : length.trim()
    if (lengthMs(written) !== null) onChoose({ start: `-${written}`, end: null })
    else setWrong('A length is a number and s, m, h, d or w: 45m, 1h30m, 1.5d')
  }
  const applyMoments = (event: SubmitEvent) => {
    event.preventDefault()
    const start = fromInput(from, view.zone)
    const end = fromInput(to, view.zone)
    if (start === null) setWrong('Choose when it begins')
    else if (end !== null && end <= start) setWrong('It ends before it begins')
    else onChoose({ start: toRfc3339(start), end: end === null ? null : toRfc3339(end) })
  }
  return (
    <>
      <form className={styles.form} onSubmit={applyLength}>
        <label>
          Last
          <input value={length} placeholder="45m" size={6} onChange={(event) => setLength(event.target.value)} />
        </label>
        <Button type="submit" small>
          Apply
        </Button>
      </form>
      <form className={classes(styles.form, styles.moments)} onSubmit={applyMoments}>
        <label>
          Start
          <input type="datetime-local" step="1" value={from} onChange={(event) => setFrom(event.target.value)} />
        </label>
        <label>
          End (empty: now)
          <input type="datetime-local" step="1" value={to} onChange={(event) => setTo(event.target.value)} />
        </label>
        <Button type="submit" small>
          Apply start and end
        </Button>
      </form>
      <p role="alert" className={styles.wrong}>
        {wrong}
      </p>
    </>
  )
}
