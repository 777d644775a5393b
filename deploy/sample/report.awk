# SPDX-License-Identifier: Apache-2.0
# Reads month,actual,forecast, where the forecast stands in the row of the month it was made in, for the month after.
# Prints the last year as a table, all as a plot, and both errors. Exit 1 unless the model's is below the naive one's.
{
  if (NF != 3 || $2 !~ /^[-0-9.e+]+$/ || $3 !~ /^[-0-9.e+]+$/) {
    print "report.awk: row " NR " is not month,actual,forecast: " $0 > "/dev/stderr"
    bad = 1
    exit
  }
  month[NR] = $1; actual[NR] = $2; made[NR] = $3
}

END {
  if (bad || NR < 14) exit 1
  n = NR - 1
  for (k = 2; k <= NR; k++) {
    model += (made[k - 1] - actual[k]) ^ 2
    naive += (actual[k - 1] - actual[k]) ^ 2
  }
  model = sqrt(model / n); naive = sqrt(naive / n)

  print "\nmonth      actual  forecast"
  for (k = NR - 11; k <= NR; k++) printf "%s  %8.1f  %8.1f\n", month[k], actual[k], made[k - 1]

  columns = 60; rows = 12; step = n / columns; top = 0
  for (c = 0; c < columns; c++) {
    a = f = count = 0
    for (k = int(c * step) + 2; k < int((c + 1) * step) + 2; k++) { a += actual[k]; f += made[k - 1]; count++ }
    mean_actual[c] = a / count; mean_made[c] = f / count
    if (mean_actual[c] > top) top = mean_actual[c]
    if (mean_made[c] > top) top = mean_made[c]
  }
  printf "\n%s to %s, half-yearly means: o forecast, . actual, @ both\n", month[2], month[NR]
  for (r = rows; r >= 0; r--) {
    line = sprintf("%4d |", r * top / rows)
    for (c = 0; c < columns; c++) {
      is_actual = int(mean_actual[c] * rows / top + 0.5) == r
      is_made = int(mean_made[c] * rows / top + 0.5) == r
      line = line (is_actual && is_made ? "@" : is_made ? "o" : is_actual ? "." : " ")
    }
    print line
  }
  printf "\n%d forecasts of months not trained on, root mean square error in sunspots:\n", n
  printf "  model %6.2f\n  naive %6.2f  (next month = this month)\n", model, naive
  if (model < naive) printf "The model is %.0f %% better than the naive forecast.\n", 100 * (1 - model / naive)
  exit !(model < naive)
}
