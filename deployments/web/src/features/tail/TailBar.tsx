// What is followed, and whether: query, pause, stop.
import type { Problem } from '../../api/http'
import { Button } from '../../ui/Button'
import { Icon } from '../../ui/Icon'
import { useShortcuts } from '../../ui/shortcuts'
import type { View } from '../../view/view'
import { QuestionForm } from '../search-bar/QuestionForm'
import { useQuestion } from '../search-bar/useQuestion'
import styles from './TailBar.module.css'

interface TailBarProps {
  view: View
  onChange: (part: Partial<View>) => void
  /** Follow the same anew, from now on. */
  onAgain: () => void
  problem: Problem | null
  held: boolean
  onPause: () => void
  isOver: boolean
  onStop: () => void
}

export function TailBar({ view, onChange, onAgain, problem, held, onPause, isOver, onStop }: TailBarProps) {
  const question = useQuestion(view, problem, onChange, onAgain)
  const { isRun, error, errorId, editor } = question
  useShortcuts({ '/': () => editor.current?.focus() })
  return (
    <QuestionForm
      question={question}
      look={styles}
      controls={
        <>
          {!isRun && (
            <Button type="submit" weight="primary">
              Follow this
            </Button>
          )}
          <Button className={styles.control} onClick={onPause} aria-pressed={held} disabled={isOver} title="Pause (p)">
            <Icon name={held ? 'right' : 'pause'} /> {held ? 'Go on' : 'Pause'}
          </Button>
          <Button className={styles.control} onClick={onStop} title={isOver ? 'Start (s)' : 'Stop (s)'}>
            <Icon name={isOver ? 'right' : 'stop'} /> {isOver ? 'Start' : 'Stop'}
          </Button>
        </>
      }
    >
      <p id={errorId} className="quiet">
        {error?.message}
      </p>
    </QuestionForm>
  )
}
