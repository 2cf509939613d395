/* lineup_test.js - line-ups in the forms in which people paste them. */
'use strict';

const test = require('node:test');
const assert = require('node:assert');
const Lineup = require('../../gateways/http/pages/lineup.js');

const THREE = [[1, 'Armani'], [7, 'Luna'], [10, 'Di María']];

const fill = (form, number, name) =>
    form.replace(/\bN\b/, number).replace(/\bX\b/, name);

function is_three(text) {
    assert.deepStrictEqual(Lineup.read(text),
                           {on: THREE, bench: [], faults: []}, text);
}

test('a number and a name, however they are set apart', () => {
    for (const form of ['N X', 'N. X', 'N) X', 'N: X', 'N - X', 'N – X',
                        'N\tX', 'N,X', 'N, X', '#N X', '(N) X', 'No. N X',
                        'N | X', '  N  X  ', '- N X', '• N. X', 'N.X',
                        'GK N X', 'N GK X', 'N X (c)', 'N X [C]'])
        is_three(THREE.map(([n, x]) => fill(form, n, x))
            .join('\n'));
});

test('a name and a number', () => {
    for (const form of ['X (N)', 'X N', 'X, N', 'X #N', 'X - N', 'X [N]',
                        'X(N)', 'X\tN', 'MF X (N)', 'X (c) (N)'])
        is_three(THREE.map(([n, x]) => fill(form, n, x))
            .join('\n'));
});

test('lists with commas, semicolons, and in several lines', () => {
    for (const text of ['1 Armani, 7 Luna, 10 Di María',
                        '1 Armani; 7 Luna; 10 Di María;',
                        'Armani (1), Luna (7), Di María (10)',
                        'Armani 1, Luna 7, Di María 10',
                        '1, Armani, 7, Luna, 10, Di María',
                        '1. Armani, 7. Luna,\r\n10. Di María',
                        '\n\n1 Armani\r7 Luna\r\r10 Di María\n',
                        'Starting XI: 1 Armani, 7 Luna, 10 Di María',
                        'Line-up:\n1 Armani\n7 Luna\n10 Di María\nCoach: Gareca'])
        is_three(text);
});

test('who follows "Subs:" or is the twelfth sits on the bench', () => {
    const eleven = Array.from({length: 11}, (_, i) => (i + 1) + ' P' + 'x'
        .repeat(i + 1)).join('\n');
    const late = Lineup.read(eleven + '\n12 Silva\n14 Mora');

    assert.strictEqual(late.on.length, 11);
    assert.deepStrictEqual(late.bench, [[12, 'Silva'], [14, 'Mora']]);
    for (const word of ['Subs:\n', 'Substitutes: ', 'Bench\n', 'SUPLENTES\n',
                        'Subs - '])
        assert.deepStrictEqual(
            Lineup.read('1 Armani\n' + word + '12 Silva, 14 Mora'),
            {on: [[1, 'Armani']], bench: [[12, 'Silva'], [14, 'Mora']],
             faults: []}, word);
});

test('names of several words, with apostrophes, hyphens and dots', () => {
    assert.deepStrictEqual(
        Lineup.read("3 O'Brien\n4 Saint-Just\n5 van der Berg Jr.\nJ. Ponce (6)")
            .on,
        [[3, "O'Brien"], [4, 'Saint-Just'], [5, 'van der Berg Jr'],
         [6, 'J. Ponce']]);
});

test('what is none of this is named with its line', () => {
    const read = Lineup.read('1 Armani\nLuna\n7\n9 Paz, Mora, 10 Ruiz\n' +
                             '1 Silva\n1000 Big\n8 ' + 'x'.repeat(101));

    assert.deepStrictEqual(read.on, [[1, 'Armani'], [9, 'Paz'], [10, 'Ruiz']]);
    assert.deepStrictEqual(read.faults, [
        {line: 2, text: '“Luna” has no number.'},
        {line: 3, text: '“7” is not a number and a name.'},
        {line: 4, text: '“Mora” has no number.'},
        {line: 5, text: 'number 1 is Armani already, in line 1.'},
        {line: 6, text: '1000 is no number on a shirt (0 to 999).'},
        {line: 7, text: 'the name is too long: “' + 'x'.repeat(20) + ' …”.'},
    ]);
});

test('nothing is nobody', () => {
    assert.deepStrictEqual(Lineup.read(' \n\n'),
                           {on: [], bench: [], faults: []});
});
