// In the place of an answer: the plan of a large search, that waits for a person.
import type { Explanation } from '../../api/explain'
import { Button } from '../../ui/Button'
import { formatBytes } from '../../ui/format'
import { Notice } from '../../ui/Notice'
import { rangeMs } from '../../view/time'
import type { View } from '../../view/view'
import { PRESETS } from '../../view/time'
import { LARGE_BYTES } from './large'
import { Plan } from './Plan'
import styles from './Plan.module.css'

interface LargePlanProps {
  plan: Explanation
  view: View
  onRun: () => void
  onChange: (part: Partial<View>) => void
}

export function LargePlan({ plan, view, onRun, onChange }: LargePlanProps) {
  return (
    <section className={styles.held} aria-label="A large search">
      <Notice kind="warn">
        <strong>This search may read {formatBytes(plan.bytes_to_read)}.</strong> It has not begun: above{' '}
        {formatBytes(LARGE_BYTES)} it is asked first. A shorter time range, a service, or a rare word makes it smaller.
        <p className={styles.choices}>
          <Button weight="primary" onClick={onRun}>
            Run anyway
          </Button>
          {shorter(view, Date.now()).map(({ start, label }) => (
            <Button key={start} onClick={() => onChange({ start, end: null })}>
              {label}
            </Button>
          ))}
        </p>
      </Notice>
      <Plan plan={plan} zone={view.zone} />
    </section>
  )
}

/** Presets below the length of the view's range, the longest two. */
function shorter(view: View, nowMs: number) {
  const asked = rangeMs(view, nowMs)
  const lengthMs = asked === null ? Infinity : asked[1] - asked[0]
  return PRESETS.filter(({ start }) => {
    const preset = rangeMs({ start, end: null }, nowMs)
    return preset !== null && preset[1] - preset[0] < lengthMs
  }).slice(-2)
}
