/* first.js - the fan's page puts the score on its board that came with it, and
 * waits for nothing: not for what stands behind this, in the same answer. */
const First = (function () {
'use strict';

const {$, draw_state, order, set_colours, stored, teams} = Score;
const wanted = new URLSearchParams(location.hash.slice(1)).get('match');
let known = null;

set_colours(stored('touchline theme'));
try {
    known = JSON.parse($('known').textContent);
} catch (e) {
    known = null;       /* app.js asks for it */
}
if (known) {
    const matches = known.matches.map((s) => ({id: s.id, state: s}));

    Object.entries(known.teams).forEach(([id, name]) => teams.set(id, name));
    matches.filter((m) => m.id === wanted).concat(wanted ? [] : order(matches))
        .slice(0, 1).forEach((m) => draw_state(m, ''));
}
return {known, wanted};
}());
