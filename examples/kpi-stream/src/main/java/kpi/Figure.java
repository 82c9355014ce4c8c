package kpi;

/**
 * What happened in a queue during a window.
 *
 * @param revision 1 for the final figure, more for its corrections; 0 before
 * @param lists lists of suggestions that were displayed
 * @param adopted those of which something was accepted
 * @param thumbs verdicts of agents
 * @param negative those that are down
 */
record Figure(String queue, String from, String to, long revision, long lists, long adopted, long thumbs, long negative) {
    static final String HEADER = String.format("%-20s  %-20s %6s %8s %8s %7s %9s", "from", "queue", "lists", "adopted", "", "thumbs", "negative");

    Figure plus(long lists, long adopted, long thumbs, long negative) {
        return new Figure(queue, from, to, revision, this.lists + lists, this.adopted + adopted, this.thumbs + thumbs, this.negative + negative);
    }

    Figure next() {
        return new Figure(queue, from, to, revision + 1, lists, adopted, thumbs, negative);
    }

    /** A line of the table that HEADER begins. */
    String line() {
        return String.format("%-20s  %-20s %6d %8d %8s %7d %9d %8s  %s", from, queue, lists, adopted, share(adopted, lists), thumbs, negative,
                share(negative, thumbs), revision == 1 ? "final" : "correction " + (revision - 1));
    }

    private static String share(long part, long of) {
        return of == 0 ? "" : Math.round(100.0 * part / of) + " %";
    }
}
