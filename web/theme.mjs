// Light or dark: by the system, or as this browser was told.
import { effect, signal } from "@preact/signals";

const KEPT = "talkoo.theme";

/** `system`, `light` or `dark`. */
export const theme = signal(localStorage.getItem(KEPT) ?? "system");

effect(() => {
  document.documentElement.dataset.theme = theme.value;
  localStorage.setItem(KEPT, theme.value);
});
