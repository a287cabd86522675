// The field above a list that narrows it. May not live here: what is looked for, or where.
import { classes } from './classes'
import styles from './SearchInput.module.css'

interface SearchInputProps {
  /** Its name for who does not see the list. */
  label: string
  placeholder: string
  value: string
  onChange: (value: string) => void
  maxLength?: number
  small?: boolean
}

export function SearchInput({ label, placeholder, value, onChange, maxLength, small }: SearchInputProps) {
  return (
    <input
      type="search"
      className={classes(styles.input, small && styles.small)}
      placeholder={placeholder}
      aria-label={label}
      autoComplete="off"
      spellCheck={false}
      maxLength={maxLength}
      value={value}
      onChange={(event) => onChange(event.target.value)}
    />
  )
}
