// The bar in which a query is written, with what can be done with it beside. May not live here: what that is.
import type { ReactNode } from 'react'

import { classes } from '../../ui/classes'
import { QueryEditor } from './QueryEditor'
import styles from './QuestionForm.module.css'
import type { Question } from './useQuestion'

interface QuestionFormProps {
  question: Question
  /** Classes for its parts, beside those that every bar has. Import their sheet after this module. */
  look: Partial<Record<'bar' | 'box' | 'controls', string>>
  /** In the box, before and behind the query. */
  before?: ReactNode
  after?: ReactNode
  controls: ReactNode
  /** What is wrong with the query: an element with the question's `errorId`. */
  children: ReactNode
}

export function QuestionForm({ question, look, before, after, controls, children }: QuestionFormProps) {
  return (
    <form
      role="search"
      className={classes(styles.bar, look.bar)}
      onSubmit={(event) => {
        event.preventDefault()
        question.run()
      }}
    >
      <div className={classes(styles.box, look.box)}>
        {before}
        <QueryEditor
          value={question.draft}
          error={question.isRun ? question.error : null}
          errorId={question.errorId}
          completion={question.completion}
          onChange={question.setDraft}
          onSubmit={question.run}
          editor={question.editor}
        />
        {after}
      </div>
      <div className={classes(styles.controls, look.controls)}>{controls}</div>
      {children}
    </form>
  )
}
