// Tables: one look, and each scrolls by itself where it is wider than the screen, also with the keyboard.
import type { ReactNode } from 'react'

import { classes } from './classes'
import styles from './Table.module.css'

interface TableRegionProps {
  label: string
  /** In the place of the usual frame. */
  className?: string | undefined
  children: ReactNode
}

/** A table around its head and body. */
export function TableRegion({ label, className = styles.framed, children }: TableRegionProps) {
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls has to take the focus
    <div className={classes(styles.scroll, className)} role="region" aria-label={label} tabIndex={0}>
      <table className={styles.table}>{children}</table>
    </div>
  )
}

interface TableProps {
  label: string
  head: readonly string[]
  /** The first cell names the row. */
  rows: readonly (readonly ReactNode[])[]
}

export function Table({ label, head, rows }: TableProps) {
  return (
    <TableRegion label={label}>
      <thead>
        <tr>
          {head.map((name) => (
            <th key={name} scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(([name, ...cells], row) => (
          <tr key={row}>
            <th scope="row">{name}</th>
            {cells.map((cell, at) => (
              <td key={at}>{cell}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </TableRegion>
  )
}

/** What is wrong among what a table tells. */
export function Bad({ children }: { children: ReactNode }) {
  return <span className={styles.bad}>{children}</span>
}
